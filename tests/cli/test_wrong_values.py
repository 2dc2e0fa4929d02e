"""Wrong values of every command that reads settings or files end in a sentence: no traceback, no pydantic report."""

import json

import pytest
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.pocket import checkpoint_path

MODEL = str(checkpoint_path())
#: What pydantic's own report looks like, and Python's.
RAW = ("validation error", "errors.pydantic.dev", "input_value=", "[type=", "Traceback (most recent call last)")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    contents = {
        "empty": "",
        "broken.json": "{",
        "modes.json": json.dumps({"modes": {"gumbel": {"pass_at_k": {"k": "x"}}}}),
        "settings.yaml": "thoughts: many\nsort: 1",
        "problems.jsonl": json.dumps({"question": "7+8", "answer": "5"}),
        "response.txt": "7+8=5</think>5",
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
    return folder


EVAL = ("eval", "--checkpoint", MODEL, "--data", "{}/problems.jsonl", "--out", "{}/eval")
CHAIN = ("chain", "7+8", "{}/response.txt", "--answer", "5")
COMMANDS = [
    *[(*EVAL, "--modes", value) for value in ("", "gumble")],
    *[(*EVAL, "--override", value) for value in ("x", "gumbel.law.tau", "gumbel.law.tau=-1", "greedy.law.taus=1")],
    *[
        (*EVAL, "--modes", "gumbel", "--override", f"gumbel.{value}")
        for value in ("law.tau=x", "filter.top_p=2", "a=1")
    ],
    *[(*EVAL, "--phase", value) for value in ("x", "budgets=3", "budget=x", "cold_length=2", "match=letters")],
    *[(*EVAL, name, value) for name, value in (("--k", "x"), ("--k", "99"), ("--samples", "0"), ("--budget", "-1"))],
    *[(*EVAL, name, "no") for name in ("--prompt", "--reward", "--limit", "--seed", "--max-tokens")],
    *[
        (*CHAIN, "--setting", value)
        for value in ("x", "alpha=-1", 'alpha="x"', "alphas=1", "delimiters=[]", "answer=1")
    ],
    ("chain", "7+8", "{}/none.txt", "--answer", "5"),
    *[("plot", f"{{}}/{name}") for name in ("none", "broken.json", "modes.json", "empty")],
    ("plot", "{}/modes.json", "--window", "0"),
    *[(name, "{}/none") for name in ("summary", "inspect", "entropy-profile", "eval-table")],
    *[(name, "{}/empty") for name in ("summary", "eval-table")],
    ("eval-table", "a={}/broken.json"),
    ("ood", "{}/none", "--tasks", "pocket_fact"),
    *[("data", "gsm8k", name, "x") for name in ("--file", "--prompt", "--limit")],
    *[("data", "gsm8k", "--file", f"{value}={{}}/broken.json") for value in ("train", "trian")],
    ("data", "word-problems", "--train", "0"),
    *[
        ("data", "variational", "--questions", "{}/problems.jsonl", "--model", MODEL, "--work", "{}/work", *rest)
        for rest in (("--settings", "{}/settings.yaml"), ("--settings", "{}/none.yaml"), ("--until", "end"))
    ],
    ("bench", "rollout", "--law", "gumble"),
    ("bench", "fci", "--shape", "square"),
    ("bench", "repro", "--tokens", "1"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2] + command[-2:]))
def test_a_wrong_value_is_a_sentence(files, command, capsys):
    run = CliRunner().invoke(app, [part.replace("{}", str(files)) for part in command])
    said = run.output + capsys.readouterr().err
    assert run.exit_code == 2 and said.strip(), (run.exception, said)
    assert [text for text in RAW if text in said] == []
