"""Choosing a dump and its responses, discrete counterparts side by side, and the command."""

import dataclasses

import pytest
import torch
from support.awkward import NOISE_SCALE, TAU
from support.chromium import find, needs_browser, opened
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.config.settings import LawSettings
from verl_softthink.dump import DumpedResponse, dump_path, write_dump
from verl_softthink.report.selection import counterparts, find_dump, mixedness, most_mixed, shared_prompts
from verl_softthink.trace import SoftTrace

LAW = LawSettings(name="gumbel", tau=TAU, noise_scale=NOISE_SCALE)


def response(prompt: int, gap: float, reward: float = 0.0, *, soft: bool = True, length: int = 6) -> DumpedResponse:
    """Two candidates whose scores are ``gap`` apart at every position but the last; discrete when not ``soft``."""
    flags = torch.arange(length) < length - 1 if soft else torch.zeros(length, dtype=torch.bool)
    ids = torch.tensor([[10, 11]]).expand(length, -1).where(flags[:, None], -1).int()
    trace = SoftTrace(
        soft=flags,
        drawn=flags.clone(),
        forced=torch.zeros(length, dtype=torch.bool),
        discrete=torch.zeros(length, dtype=torch.bool),
        ids=ids,
        values=torch.tensor([[gap, 0.0]]).repeat(length, 1).where(flags[:, None], 0.0),
        log_prob=torch.full((length,), -1.0),
        entropy=torch.full((length,), 0.5),
        end_reason="none",
    )
    tokens = torch.tensor([10] * (length - 1) + [12])
    return DumpedResponse(
        key=f"p{prompt}_0_0",
        prompt_ids=torch.tensor([7, prompt]),
        response_ids=tokens,
        trace=trace,
        reward=reward,
        answer="4",
    )


@pytest.fixture
def run(tmp_path):
    """A run with two dumps, and its discrete twin."""
    soft = [response(1, 3.0), response(1, 0.1), response(2, 1.0, 1.0), response(3, 0.5)]
    for step in (2, 10):
        write_dump(soft, LAW.model_dump(), dump_path(tmp_path / "soft" / "rollouts", step))
    twin = [response(1, 0.0, soft=False), response(2, 0.0, 1.0, soft=False), response(2, 0.0, soft=False)]
    write_dump(twin, LawSettings(name="discrete").model_dump(), dump_path(tmp_path / "grpo" / "rollouts", 10))
    return tmp_path


def test_the_last_step_is_the_largest_number(run):
    assert find_dump(run / "soft").name == "traces-10.safetensors"
    assert find_dump(run / "soft" / "rollouts", 2) == dump_path(run / "soft" / "rollouts", 2)
    assert find_dump(run / "soft" / "rollouts" / "traces-2.safetensors").name == "traces-2.safetensors"
    with pytest.raises(FileNotFoundError, match="no dump of step 3; it has steps 2, 10"):
        find_dump(run / "soft", 3)
    with pytest.raises(FileNotFoundError, match="trainer.rollout_data_dir"):
        find_dump(run)


def test_mixedness_is_the_mean_effective_number():
    weight = torch.tensor([0.8, 0.0]).div(TAU).softmax(-1)
    assert mixedness(response(1, 0.8), LAW) == pytest.approx(float(1 / (weight**2).sum()), rel=1e-5)
    assert mixedness(response(1, 0.8, soft=False), LAW) == 0.0


def test_equal_draws_do_not_make_a_response_mixed():
    drawn = response(1, 0.0)
    ids = drawn.trace.ids.clone()
    ids[drawn.trace.soft] = 10
    trace = dataclasses.replace(drawn.trace, ids=ids)
    assert mixedness(dataclasses.replace(drawn, trace=trace), LawSettings(name="multiplex")) == 1.0


def test_the_most_mixed_response_of_each_prompt_comes_first():
    responses = [response(1, 3.0, 1.0), response(1, 0.1), response(2, 1.0), response(3, 0.5), response(4, 0.5, 1.0)]
    chosen = most_mixed(responses, LAW, 4)
    assert [int(item.prompt_ids[1]) for item in chosen] == [1, 4, 3, 2]
    assert chosen[0] is responses[1]


def test_counterparts_answer_the_same_prompt():
    chosen, others = [response(1, 1.0), response(2, 1.0)], [response(2, 0.0, 0.0), response(2, 0.0, 1.0)]
    first, second = counterparts(chosen, others)
    assert first is None and second is others[0]
    assert shared_prompts(chosen, others) == [chosen[1]]
    with pytest.raises(ValueError, match="no prompt in common: take the same step of two runs"):
        shared_prompts(chosen, [response(9, 0.0)])


@pytest.fixture
def page(run, tokenizer):
    tokenizer.save_pretrained(run / "model")
    arguments = ["--model", str(run / "model"), "--out", str(run / "page.html")]
    result = CliRunner().invoke(app, ["inspect", str(run / "soft"), "--beside", str(run / "grpo"), *arguments])
    assert result.exit_code == 0, result.output
    return run / "page.html"


def test_the_command_shows_both_rollouts_of_a_prompt(page):
    text = page.read_text()
    assert text.count('<div class="pair">') == 2  # prompt 3 has no counterpart
    assert text.count(": soft, same prompt</h2>") == text.count(": discrete, same prompt</h2>") == 2
    assert text.count("all of ordinary tokens") == 2 and "traces-10.safetensors beside traces-10" in text


def test_mendable_errors_are_one_sentence(run, tokenizer):
    tokenizer.save_pretrained(run / "model")
    large = dataclasses.replace(response(1, 1.0), prompt_ids=torch.tensor([7, 99999]))
    write_dump([large], LAW.model_dump(), run / "traces-1.safetensors")
    for arguments, sentence in (
        ([str(run / "traces-1.safetensors")], "token id 99999, and the tokenizer only"),
        ([str(run / "soft"), "--step", "5"], "no dump of step 5"),
    ):
        result = CliRunner().invoke(app, ["inspect", *arguments, "--model", str(run / "model")])
        assert result.exit_code == 2 and sentence in result.output and "Traceback" not in result.output


@needs_browser
@pytest.mark.parametrize(("width", "side_by_side"), [(1400, True), (700, False)])
def test_pairs_in_a_browser(page, tmp_path, width, side_by_side):
    with opened(str(tmp_path / "profile"), find()) as browser:
        browser.size(width, 900)
        browser.open(page.as_uri())
        tops = browser.evaluate(
            "Array.from(document.querySelector('.pair').children, item => item.getBoundingClientRect().top)"
        )
        assert (tops[0] == tops[1]) is side_by_side
        assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth")
        for _ in range(5):  # prompt, text, profile, strip, table of the first response
            browser.press("Tab")
        for _ in range(4):  # prompt, text, profile, strip of the second
            browser.press("Tab")
        assert browser.evaluate("document.activeElement.dataset.row") == "r2-1"
        browser.press("End")
        assert browser.evaluate("document.activeElement.dataset.row") == "r2-6"
        assert "answering" in browser.evaluate("document.getElementById('details').innerText")
