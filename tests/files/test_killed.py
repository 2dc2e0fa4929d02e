"""Commands killed at every write, and started again: nothing is lost, nothing doubled, and the result is the same."""

import os
import signal
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from verl_softthink.config.settings import PhaseSettings
from verl_softthink.data.prompts import PROMPTS
from verl_softthink.evaluation import out_of_domain, run
from verl_softthink.evaluation.engine import Engine, EngineSettings
from verl_softthink.evaluation.modes import read_modes
from verl_softthink.evaluation.problems import read_problems
from verl_softthink.evaluation.samples import Response
from verl_softthink.methods.variational.offline import pipeline
from verl_softthink.methods.variational.offline.settings import OfflineSettings
from verl_softthink.methods.variational.settings import HintSettings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.tasks import generate

#: Digits in the pocket reasoner's vocabulary have one token each.
THOUGHT, ANSWER = "5;</think>", "5<eos>"


def killed(work: Callable[[], object], point: int) -> bool:
    """Run in a process of its own that is killed at the ``point``-th chance, and say whether it came to that.

    Chances are half a text written, a whole file not yet in its place, and a file just moved to its place.
    """
    child = os.fork()
    if child == 0:
        passed = [0]

        def chance() -> bool:
            passed[0] += 1
            return passed[0] == point

        write, move = Path.write_text, Path.replace

        def write_text(self, text, *arguments, **options):
            if chance():
                write(self, text[: len(text) // 2], *arguments, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            return write(self, text, *arguments, **options)

        def replace(self, target):
            if chance():
                os.kill(os.getpid(), signal.SIGKILL)
            moved = move(self, target)
            if chance():
                os.kill(os.getpid(), signal.SIGKILL)
            return moved

        Path.write_text, Path.replace = write_text, replace
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, the copy of the test run must end here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def noted(log: Path, what: object) -> None:
    """A line that outlives the process."""
    with log.open("a") as file:
        file.write(f"{what}\n")


class FakeEngine:
    """A response that tells the prompt's length and the seed, in place of vLLM."""

    def __init__(self, log: Path):
        self.log = log

    def generate(self, prompts, requests):
        noted(self.log, [request.seed for request in requests])
        texts = [f"{len(prompt)} {request.seed}" for prompt, request in zip(prompts, requests, strict=True)]
        return [Response(text=text, tokens=3, thinking=1, finish="stop", end_reason="marker") for text in texts]


def evaluation(folder: Path, log: Path, monkeypatch) -> Callable[[Path], object]:
    data = folder / "problems.parquet"
    write_parquet(generate("val", 4, 0), data)
    monkeypatch.setattr(run, "CHUNK_REQUESTS", 4)
    monkeypatch.setattr(Engine, "opened", contextmanager(lambda *_: iter([FakeEngine(log)])))
    asked = run.Evaluation(
        checkpoint=checkpoint_path(),
        data=data,
        problems=read_problems(data, PROMPTS["boxed"]),
        modes=read_modes("gumbel"),
        phase=PhaseSettings(),
        samples=2,
        ks=(1, 2),
        reward="pocket",
        prompt="boxed",
        seed=0,
        engine=EngineSettings(32, 16, 4, 5, False),
    )
    return lambda out: run.evaluate(asked, out, Console(file=(folder / "screen").open("w")))


def variational(folder: Path, log: Path, monkeypatch) -> Callable[[Path], object]:
    write_parquet(generate("train", 4, 0), folder / "questions.parquet")
    settings = OfflineSettings(
        questions=str(folder / "questions.parquet"),
        model=str(checkpoint_path()),
        hint=HintSettings(source="answer", template="{question}+{hint}"),
        reward="pkg://verl_softthink.pocket.reward",
        thoughts=2,
        answers=2,
        shard=2,
    )

    def sample(stages, prompts, *, count, seeds, **_):
        noted(log, ("sample", count, len(prompts), seeds))
        text = THOUGHT if len(prompts) == len(set(seeds)) else ANSWER
        return [[stages.tokenizer.encode(text, add_special_tokens=False)] * count for _ in prompts]

    def score(stages, records):
        zeros = [0.0] * settings.thoughts
        return [r | {"model": zeros, "posterior": zeros, "answer_log_probs": [[], []]} for r in records]

    def rewarded(stages, records, sampler):
        return stages.verify(records, sampler, lambda **_: 1.0)

    def with_sampler(stage):
        return lambda stages, _: lambda records: stage(stages, records, lambda *a, **k: sample(stages, *a, **k))

    monkeypatch.setattr(pipeline, "_sample", with_sampler(lambda stages, records, s: stages.sample(records, s)))
    monkeypatch.setattr(pipeline, "_score", lambda stages, _: lambda records: score(stages, records))
    monkeypatch.setattr(pipeline, "_verify", with_sampler(rewarded))
    return lambda work: pipeline.run(settings, work)


def measured(folder: Path, log: Path, monkeypatch) -> Callable[[Path], object]:
    def measure(checkpoint, tasks, out, **_):
        noted(log, tasks)
        nll = {"mean": 1.0, "low": 0.5, "high": 1.5}
        return {task: {"nll": nll, "accuracy": 0.5, "questions": len(task)} for task in tasks}

    monkeypatch.setattr(out_of_domain, "measure", measure)
    names = {"limit": None, "batch_size": 1, "seed": 0}
    return lambda out: out_of_domain.measure_all([checkpoint_path()], ["arc", "mmlu"], out, **names)


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, without what a killed process leaves half done."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".partial")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name != ".lock"}


@pytest.mark.parametrize("command", [evaluation, variational, measured], ids=["eval", "data variational", "ood"])
def test_a_killed_command_goes_on_where_it_was(command, tmp_path, monkeypatch):
    log = tmp_path / "drawn"
    work = command(tmp_path, log, monkeypatch)
    assert not killed(lambda: work(tmp_path / "whole"), 0)
    expected, drawn = files(tmp_path / "whole"), log.read_text().splitlines()
    assert len(expected) > 2 and len(drawn) == len(set(drawn))
    point = 1
    while True:
        log.unlink(missing_ok=True)
        out = tmp_path / f"killed-{point}"
        died = killed(lambda out=out: work(out), point)
        assert not killed(lambda out=out: work(out), 0)
        assert files(out) == expected
        again = log.read_text().splitlines()
        # What was under way is drawn again, and nothing else.
        assert set(again) >= set(drawn) and len(again) <= len(drawn) + 1
        if not died:
            break
        point += 1
    assert point > 3 * len(drawn)


def test_killed_again_and_again_a_command_comes_to_its_end(tmp_path, monkeypatch):
    """Each start gets as far as one more chunk before it is killed."""
    work = evaluation(tmp_path, tmp_path / "drawn", monkeypatch)
    starts = 1
    while killed(lambda: work(tmp_path / "out"), 7):
        starts += 1
    assert starts > 1 and (tmp_path / "out" / "eval.json").is_file()
