"""``verl-softthink audit`` on the pocket reasoner: mistakes, and every arm through one real engine."""

import json
from contextlib import contextmanager

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.config.settings import PhaseSettings
from verl_softthink.evaluation.audit.arms import ARMS
from verl_softthink.evaluation.audit.run import Audit, Auditor
from verl_softthink.evaluation.engine import Engine, EngineSettings
from verl_softthink.evaluation.modes import read_mode
from verl_softthink.evaluation.problems import read_problems
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.evaluate import MAX_RESPONSE_LENGTH
from verl_softthink.pocket.tasks import generate
from verl_softthink.standalone import choose_platform

PROBLEMS, BUDGET = 24, 56
SIZES = EngineSettings(
    max_prompt_length=32, max_tokens=MAX_RESPONSE_LENGTH, max_num_seqs=64, candidates=5, carries_embeddings=True
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "val.parquet"
    write_parquet(generate("val", PROBLEMS, 0), path)
    return path


def audit_of(data, law: str, *overrides: str, samples: int = 1, **phase) -> Audit:
    return Audit(
        checkpoint=checkpoint_path(),
        problems=read_problems(data, lambda question: [{"role": "user", "content": question}]),
        mode=read_mode("--law", law, overrides),
        phase=PhaseSettings(**{"budget": BUDGET} | phase),
        samples=samples,
        reward="auto",
        pause=".",
        seed=0,
        engine=SIZES,
    )


def command(data, *arguments: str):
    settings = ["--data", str(data), "--budget", str(BUDGET), "--max-tokens", str(MAX_RESPONSE_LENGTH)]
    return CliRunner().invoke(app, ["audit", str(checkpoint_path()), *settings, *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--law", "soft"), "--law 'soft' is unknown; use one of hard_greedy"),
        (("--law", "gumbel,concrete"), "--law 'gumbel,concrete' is unknown"),
        (("--override", "law.tua=1"), "softthink.law.tua=1: unknown key"),
        (("--limit", "1"), "1 problems: an audit takes thoughts of other problems"),
        (("--pause", "ab"), "--pause 'ab' becomes the tokens"),
        (("--max-prompt-length", "8"), "row 0: the prompt has 10 tokens; raise --max-prompt-length 8"),
        (("--phase", "lead_in='</think>   '", "--max-tokens", "3", "--phase", "budget=null"), "has no room behind it"),
        (
            ("--law", "gaussian", "--override", "law.fed=seed", "--override", "law.normalise_over=candidates"),
            "use --override law.fed=embedding",
        ),
    ],
)
def test_mistakes_are_one_sentence_before_an_engine_starts(data, arguments, message):
    run = command(data, *arguments)
    assert run.exit_code == 2 and message in run.stderr.replace("\n", " ")


def test_chunks_hold_every_problem_once_and_never_one_alone(data):
    for samples in (1, 12, 100, 1000):
        audit = audit_of(data, "gumbel", samples=samples)
        chunks = audit.chunks()
        assert [problem for chunk in chunks for problem in chunk] == list(audit.problems)
        assert min(map(len, chunks)) >= 2 and max(map(len, chunks)) - min(map(len, chunks)) <= 1
    assert len(audit_of(data, "gumbel").chunks()) == 1


def test_a_law_without_noise_thinks_once_a_problem(data):
    assert audit_of(data, "gumbel", samples=3).per_problem == 3
    assert audit_of(data, "deterministic", samples=3).per_problem == 1


@pytest.fixture(scope="module")
def engine():
    choose_platform()
    with Engine.opened(checkpoint_path(), SIZES) as opened:
        yield opened


def run(audit: Audit, engine: Engine) -> list:
    told = []
    audited = Auditor(audit, AutoTokenizer.from_pretrained(checkpoint_path())).run(
        engine, lambda arm, count: told.append((arm, count))
    )
    assert told == [(arm, PROBLEMS * audit.samples) for arm in ("sampled", *ARMS)]
    assert [one.problem for one in audited] == list(range(PROBLEMS))
    return audited


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("law", "overrides", "samples"),
    [("gumbel", (), 2), ("multiplex", (), 1), ("gaussian", ("law.gamma=0.1",), 1), ("mixture_of_inputs", (), 1)],
)
def test_thoughts_handed_back_as_they_are_give_the_answers_again(data, engine, law, overrides, samples):
    audited = run(audit_of(data, law, *overrides, samples=samples), engine)
    assert sum(one.answered for one in audited) >= 0.9 * PROBLEMS * samples
    for one in audited:
        assert one.same == one.answered and one.right["as_they_are"] == one.right["sampled"]
    right = {arm: sum(one.right[arm] for one in audited) for arm in ARMS}
    assert right["as_they_are"] > PROBLEMS * samples / 4
    for arm in ("uniform", "shuffled_positions", "shuffled_problems", "pause", "removed"):
        assert right[arm] < right["as_they_are"], arm


@pytest.mark.vllm
@pytest.mark.parametrize(
    "phase",
    [
        # A thought that is cut short; a text that tokens write together; what is forced behind either.
        {"budget": 6},
        {"end_of_thinking": "</think>", "match": "text"},
        {"end_of_thinking": "=", "answer_prefix": "7", "answer_budget": 2},
    ],
)
def test_however_thinking_ends_the_control_holds(data, engine, phase):
    audited = run(audit_of(data, "gumbel", **phase), engine)
    assert sum(one.answered for one in audited) == PROBLEMS
    assert all(one.same == one.answered for one in audited)


@pytest.mark.vllm
def test_the_command_prints_and_writes_its_verdict(data, engine, tmp_path, monkeypatch):
    @contextmanager
    def opened(checkpoint, settings):
        assert (checkpoint, settings.candidates) == (checkpoint_path(), SIZES.candidates)
        yield engine

    monkeypatch.setattr(Engine, "opened", opened)
    outputs = ["--json", str(tmp_path / "audit.json"), "--plot", str(tmp_path / "audit.png")]
    done = command(data, "--law", "gumbel", "--max-prompt-length", "32", *outputs)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "audit.json").read_text())
    assert result["verdict"]["text"] in done.output.replace("\n", " ") and "shuffled problems" in done.output
    assert result["settings"]["law"]["name"] == "gumbel" and len(result["by_problem"]) == PROBLEMS
    assert set(result["accuracy"]) == {"sampled", *ARMS} and result["mixtures"]["effective_tokens"]["mean"] < 1.1
    assert (tmp_path / "audit.png").read_bytes().startswith(b"\x89PNG")
