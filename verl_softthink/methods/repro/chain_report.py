"""A given chain as a table in the terminal and as a page: what ``verl-softthink chain`` shows."""

from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.config.base import parse
from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import DISCRETE
from verl_softthink.methods.repro.chain import ScoredChain, score_chain
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.report.token_text import visible
from verl_softthink.report.trace_page import TracedResponse, render_page
from verl_softthink.trace import SoftTrace


def report_chain(
    problem: str, response: Path, answer: str, model: Path | None, settings: dict, marker: str, out: Path | None
) -> None:
    """Score the response in a text file, print its pieces, and write a page if asked.

    Args:
        problem: the user's message.
        response: text file; one line break at its end does not count.
        answer: the right answer.
        model: checkpoint; the overthinking pocket reasoner when None.
        settings: keys of ``softthink.repro``.
        marker: the end-of-thinking marker.
        out: HTML file to write.

    Raises:
        ValueError: wrong settings, or nothing to score.
    """
    path = model or checkpoint_path(OVERTHINKING)
    policy = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": problem}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"][0]
    text = response.read_text(encoding="utf-8").removesuffix("\n")
    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False))
    chain = score_chain(
        policy, tokenizer, prompt, ids, answer, parse(ReproSettings, settings, "softthink.repro"), marker
    )
    Console().print(_table(chain, tokenizer))
    if out is not None:
        piece, reward = chain.results.of_tokens(0, len(ids))
        page = TracedResponse(
            trace=SoftTrace.of_tokens(chain.log_probs),
            token_ids=ids.tolist(),
            tokenizer=tokenizer,
            law=LawSettings(name=DISCRETE),
            prompt=tokenizer.decode(prompt),
            answer=answer,
            pieces=piece.tolist(),
            piece_rewards=reward.tolist(),
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(render_page([page], title=f"Process rewards: {problem}"), encoding="utf-8")


def _table(chain: ScoredChain, tokenizer) -> Table:
    table = Table("piece", "J before", "J after", "magnitude", "stability", "score", "reward")
    results = chain.results
    columns = (results.surrogate, *results.scores)
    surrogate, magnitude, stability, total = (column[0].tolist() for column in columns)
    for number, text in enumerate(chain.pieces(tokenizer)):
        after = number + 1
        cells = (surrogate[number], surrogate[after], magnitude[after], stability[after], total[after])
        table.add_row(visible(text), *(f"{value:.3f}" for value in cells), f"{float(results.rewards[0, number]):+.3f}")
    return table
