"""Every command on damaged, foreign and hostile files: exit code 2 and one sentence with the path, or served."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

# Its log handler keeps the stderr that stands when it is imported: not that of a runner, which is closed behind it.
import transformers  # noqa: F401
import typer
from support import sound_files
from support.damage import damage
from typer.testing import CliRunner

from verl_softthink import standalone
from verl_softthink.cli import app

#: Ends a command whose files were all good enough for the engine, which these tests do without.
ENGINE_REACHED = 0


@dataclass(frozen=True)
class Reader:
    """One kind of file of one command.

    Attributes:
        file: what is damaged, relative to the folder of sound files.
        kind: one of ``support.damage.WAYS``.
        arguments: of the command; {} stands for the folder.
        cases: how many damaged files.
        needs: what is copied beside the file.
        served: exit codes of a file that is good enough; the watch of a run that ended early gives 1.
    """

    file: str
    kind: str
    arguments: str
    cases: int
    needs: tuple[str, ...] = ()
    served: tuple[int, ...] = (0,)


RUN = "run/rollouts/traces-3.safetensors"
EVAL = "eval --checkpoint {}/model --modes gumbel --samples 2 --reward number --out {}/out --data {}/"
VARIATIONAL = "data variational --model {}/model --work {}/work --settings {}/settings.yaml --questions {}/"
OFFLINE = ("model", "settings.yaml")
CHAIN = "chain 7+8*3+0 {}/chain.txt --answer 5 --marker </think> --model {}/model --out {}/page.html"
INSPECT = {
    "inspect dump": Reader(
        "traces-2.safetensors", "safetensors", "inspect {}/traces-2.safetensors --out {}/p.html", 130
    ),
    "inspect run": Reader(RUN, "safetensors", "inspect {}/run --out {}/p.html", 40),
    "inspect beside": Reader(
        "traces-2.safetensors",
        "safetensors",
        "inspect {}/run --beside {}/traces-2.safetensors --out {}/p.html",
        30,
        ("run",),
    ),
    "inspect tokenizer": Reader(
        "model/tokenizer.json", "json", "inspect {}/run --model {}/model --out {}/p.html", 20, ("run", "model")
    ),
    "inspect tokenizer settings": Reader(
        "model/tokenizer_config.json", "json", "inspect {}/run --model {}/model --out {}/p.html", 15, ("run", "model")
    ),
}
OTHERS = {
    "entropy-profile": Reader(
        "traces-2.safetensors", "safetensors", "entropy-profile {}/traces-2.safetensors --out {}/e.png", 25
    ),
    "summary metrics": Reader("run/metrics.jsonl", "jsonl", "summary {}/run", 35, ("run",)),
    "summary dump": Reader(RUN, "safetensors", "summary {}/run", 15, ("run",)),
    "plot metrics": Reader("run/metrics.jsonl", "jsonl", "plot a={}/run --x tokens --out {}/c.png", 35),
    "plot events": Reader("events/*", "bytes", "plot {}/events --out {}/c.png", 25),
    "plot evaluation": Reader("eval.json", "json", "plot {}/eval.json --out {}/c.png", 25),
    "eval-table": Reader("eval.json", "json", "eval-table {}/eval.json --out {}/table", 25),
    "watch metrics": Reader(
        "run/metrics.jsonl",
        "jsonl",
        "watch {}/run/metrics.jsonl --process 999999999 --log {}/train.log --steps 4",
        30,
        ("train.log",),
        (0, 1),
    ),
    "watch log": Reader(
        "train.log",
        "text",
        "watch {}/run/metrics.jsonl --process 999999999 --log {}/train.log --steps 9",
        10,
        ("run",),
        (1,),
    ),
    "eval problems": Reader("problems.parquet", "parquet", EVAL + "problems.parquet", 25, ("model",)),
    "eval lines": Reader("gsm8k.jsonl", "jsonl", EVAL + "gsm8k.jsonl", 25, ("model",)),
    "eval verl lines": Reader("questions.jsonl", "jsonl", EVAL + "questions.jsonl", 25, ("model",)),
    "eval config": Reader("model/config.json", "json", EVAL + "gsm8k.jsonl", 15, ("model", "gsm8k.jsonl")),
    "eval tokenizer": Reader("model/tokenizer.json", "json", EVAL + "gsm8k.jsonl", 15, ("model", "gsm8k.jsonl")),
    "eval template": Reader("model/chat_template.jinja", "text", EVAL + "gsm8k.jsonl", 15, ("model", "gsm8k.jsonl")),
    "eval weights": Reader("model/model.safetensors", "bytes", EVAL + "gsm8k.jsonl", 10, ("model", "gsm8k.jsonl")),
    "data lines": Reader("gsm8k.jsonl", "jsonl", "data gsm8k --file test={}/gsm8k.jsonl --out {}/data", 25),
    "data list": Reader("gsm8k.json", "json", "data gsm8k --file test={}/gsm8k.json --out {}/data", 25),
    "data parquet": Reader("gsm8k.parquet", "parquet", "data gsm8k --file test={}/gsm8k.parquet --out {}/data", 25),
    "data verl lines": Reader("questions.jsonl", "jsonl", "data math --file test={}/questions.jsonl --out {}/data", 25),
    "variational questions": Reader("questions.parquet", "parquet", VARIATIONAL + "questions.parquet", 25, OFFLINE),
    "variational lines": Reader("questions.jsonl", "jsonl", VARIATIONAL + "questions.jsonl", 30, OFFLINE),
    "variational stratos": Reader("stratos.jsonl", "jsonl", VARIATIONAL + "stratos.jsonl", 30, OFFLINE),
    "variational settings": Reader(
        "settings.yaml", "text", VARIATIONAL + "questions.parquet", 20, ("model", "questions.parquet")
    ),
    "chain text": Reader("chain.txt", "text", CHAIN, 15, ("model",)),
    "chain config": Reader("model/config.json", "json", CHAIN, 20, ("model", "chain.txt")),
    "chain weights": Reader("model/model.safetensors", "bytes", CHAIN, 10, ("model", "chain.txt")),
    "chain template": Reader("model/chat_template.jinja", "text", CHAIN, 10, ("model", "chain.txt")),
}


@contextmanager
def no_engine(*_: object, **__: object):
    raise typer.Exit(ENGINE_REACHED)
    yield


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return sound_files.make(tmp_path_factory.mktemp("sound"))


def outcome(reader: Reader, sound: Path, folder: Path, seed: int) -> tuple[str, str]:
    """Copy the files, damage one and run the command: what was done to the file, and what is wrong with the result."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (file,) = sound.glob(reader.file)
    for name in {*reader.needs, file.relative_to(sound).parts[0]}:
        if (sound / name).is_dir():
            shutil.copytree(sound / name, folder / name)
        else:
            shutil.copy(sound / name, folder / name)
    damaged = folder / file.relative_to(sound)
    way = damage(damaged, reader.kind, seed) if seed else "nothing"
    arguments = [word.replace("{}", str(folder)) for word in reader.arguments.split()]
    result = CliRunner().invoke(app, arguments)
    # transformers draws a bar, line over line, while it loads weights.
    message = result.stderr.rpartition("it/s]")[2].strip()
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return way, f"traceback: {result.exception!r}"
    if result.exit_code in reader.served:
        return way, ""
    if result.exit_code != 2 or not seed:
        return way, f"exit code {result.exit_code}: {message}"
    # Of a file that is missing its folder may be named, or the run's, in which another would do.
    named = (path for path in (damaged, *damaged.parents) if path.is_relative_to(folder) and path != folder)
    if not any(str(path) in message for path in named):
        return way, f"no path: {message}"
    if "\n" in message or "Traceback" in message:
        return way, f"several lines: {message}"
    return way, ""


@pytest.mark.parametrize("name", [*INSPECT, *OTHERS])
def test_a_damaged_file_is_one_sentence_or_served(name, sound, tmp_path, monkeypatch):
    monkeypatch.setattr(standalone, "vllm_engine", no_engine)
    monkeypatch.setattr("verl_softthink.evaluation.engine.vllm_engine", no_engine)
    monkeypatch.chdir(tmp_path)
    reader = (INSPECT | OTHERS)[name]
    wrong = {}
    for seed in range(reader.cases + 1):
        way, problem = outcome(reader, sound, tmp_path / "case", seed)
        if problem:
            wrong[f"{seed} {way}"] = problem
    assert not wrong, "\n".join(f"{case}: {problem[:300]}" for case, problem in wrong.items())


def test_there_are_two_hundred_cases_for_inspect_and_more_for_the_others():
    assert sum(reader.cases for reader in INSPECT.values()) >= 200
    assert sum(reader.cases for reader in OTHERS.values()) >= 200
