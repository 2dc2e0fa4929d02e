"""One chain outside of training: the engine's figures, the table and the page."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.methods.repro.chain import score_chain
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.pocket import checkpoint_path

SETTINGS = ReproSettings(delimiters=(";",), lead_in="</think>", answer="{answer}")
CHAIN = "7+8=5;5*3=5;5-9=6</think>6"


def test_likelihoods_of_a_chain_by_hand():
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), attn_implementation="sdpa").eval()
    prompt = torch.tensor(tokenizer.encode("<user>7+8*3-9<assistant><think>"))
    response = torch.tensor(tokenizer.encode(CHAIN))
    chain = score_chain(model, tokenizer, prompt, response, "6", SETTINGS, "</think>")
    assert chain.pieces(tokenizer) == ["7+8=5;", "5*3=5;", "5-9=6"]
    for cut, ours in zip(chain.results.cuts[0].tolist(), chain.results.surrogate[0].tolist(), strict=True):
        ids = torch.cat((prompt, response[:cut], torch.tensor(tokenizer.encode("</think>6"))))
        with torch.no_grad():
            log_probs = model(ids[None]).logits[0, -2].log_softmax(-1)
        assert abs(ours - float(log_probs[ids[-1]])) < 1e-5
    # The last step brings the answer.
    assert chain.results.surrogate[0, -1] > -0.5 > chain.results.surrogate[0, 0]
    assert chain.results.rewards[0, -1] > 0


def test_command_prints_pieces_and_writes_a_page(tmp_path):
    response, page = tmp_path / "response.txt", tmp_path / "page.html"
    response.write_text(CHAIN + "\n")
    arguments = ["chain", "7+8*3-9", str(response), "--answer", "6", "--model", str(checkpoint_path())]
    options = ["--setting", 'delimiters=[";"]', "--setting", 'lead_in="</think>"', "--setting", 'answer="{answer}"']
    result = CliRunner().invoke(app, [*arguments, *options, "--out", str(page)])
    assert result.exit_code == 0, result.output
    assert "5*3=5;" in result.output
    text = page.read_text()
    assert "raised the score of the right answer" in text
    assert text.count('class="cell answering gain"') + text.count('class="cell answering loss"') == 17
    refused = CliRunner().invoke(app, [*arguments, "--setting", "delimiters=;"])
    assert refused.exit_code == 2
    assert CliRunner().invoke(app, [*arguments, "--setting", "k=3"]).exit_code == 2
