"""``verl-softthink eval`` on the pocket reasoner, with the real engine, stopped half-way and continued."""

import json
import os
import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.evaluate import MAX_RESPONSE_LENGTH
from verl_softthink.pocket.tasks import Problem, generate
from verl_softthink.report.pass_at_k import read_evaluation

pytestmark = pytest.mark.vllm

COMMAND = [sys.executable, "-c", "from verl_softthink.cli import app; app()", "eval"]
PROBLEMS, SAMPLES = 6, 3
#: Longer than --max-prompt-length.
LONG = Problem(operands=(2,) * 20, operators=("+",) * 19)
MODES = "hard_greedy,hard_sample,soft_sample,gumbel"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "val.parquet"
    write_parquet([*generate("val", PROBLEMS, 0), LONG], path)
    return path


def evaluate(data, out, *arguments: str) -> subprocess.CompletedProcess:
    settings = {"--checkpoint": checkpoint_path(), "--data": data, "--out": out, "--samples": SAMPLES}
    settings |= {"--max-tokens": MAX_RESPONSE_LENGTH, "--max-prompt-length": 32, "--budget": 56}
    return subprocess.run(
        [*COMMAND, *(str(part) for pair in settings.items() for part in pair), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    run = evaluate(data, out, "--modes", MODES)
    assert run.returncode == 0, run.stderr[-3000:]
    return out, run.stdout


def _texts(out, mode):
    samples = json.loads((out / "samples" / mode / "00000.json").read_text())
    return [sample["response"]["text"] for sample in samples if sample["problem"] < PROBLEMS]


def test_every_sample_of_every_mode_is_there_and_reported(whole):
    out, screen = whole
    result = json.loads((out / "eval.json").read_text())
    assert list(result["modes"]) == MODES.split(",")
    for mode, summary in result["modes"].items():
        per_problem = 1 if mode == "hard_greedy" else SAMPLES
        assert summary["samples"] == sum(summary["finish"].values()) == (PROBLEMS + 1) * per_problem
        # A prompt that is too long is counted, as wrong.
        assert summary["finish"]["prompt_too_long"] == per_problem
        assert 0 < summary["correct"] <= PROBLEMS * per_problem
        assert summary["pass_at_k"]["k"] == [k for k in (1, 2) if k <= per_problem]
        assert mode in screen
    assert result["versions"]["torch"] and result["settings"]["checkpoint"] == str(checkpoint_path())
    assert read_evaluation(out / "eval.json").modes.keys() == result["modes"].keys()
    assert (out / "pass_at_k.png").read_bytes().startswith(b"\x89PNG")
    # Samples of a prompt differ: each has noise of its own.
    assert len(set(_texts(out, "hard_sample"))) > PROBLEMS


def test_hard_greedy_is_greedy_decoding(whole, data):
    out, _ = whole
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    chats = [[{"role": "user", "content": problem.question}] for problem in generate("val", PROBLEMS, 0)]
    prompts = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, return_dict=True, padding=True, return_tensors="pt"
    )
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path())
    sequences = model.generate(**prompts, do_sample=False, max_new_tokens=MAX_RESPONSE_LENGTH)
    expected = tokenizer.batch_decode(sequences[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
    assert _texts(out, "hard_greedy") == expected


def test_a_second_start_draws_what_is_missing_and_only_that(whole, data):
    out, _ = whole
    before = {mode: _texts(out, mode) for mode in MODES.split(",")}
    result = json.loads((out / "eval.json").read_text())
    (out / "samples" / "gumbel" / "00000.json").unlink()
    (out / "eval.json").unlink()
    kept = (out / "samples" / "hard_sample" / "00000.json").stat().st_mtime_ns
    run = evaluate(data, out, "--modes", MODES)
    assert run.returncode == 0, run.stderr[-3000:]
    assert {mode: _texts(out, mode) for mode in before} == before
    assert (out / "samples" / "hard_sample" / "00000.json").stat().st_mtime_ns == kept
    assert json.loads((out / "eval.json").read_text()) == result


def test_other_settings_are_refused_before_the_engine_starts(whole, data):
    out, _ = whole
    run = evaluate(data, out, "--modes", MODES, "--seed", "1", "--override", "gumbel.law.tau=0.5")
    assert run.returncode == 2
    assert "seed was 0, now 1" in run.stderr and "modes.gumbel.law.tau was 0.1, now 0.5" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--modes", "soft"), "--modes 'soft' is unknown"),
        (("--modes", "gumbel", "--k", "8"), "--k 8"),
        (("--modes", "gumbel", "--phase", "budget"), "--phase 'budget': write KEY=VALUE"),
        (("--modes", "gumbel", "--reward", "maths"), "--reward maths is unknown"),
        (("--modes", "gumbel", "--checkpoint", "no_such_directory"), "no_such_directory"),
    ],
)
def test_mistakes_are_one_sentence(data, tmp_path, arguments, message):
    run = evaluate(data, tmp_path, *arguments)
    assert run.returncode == 2
    assert message in run.stderr and "Traceback" not in run.stderr
