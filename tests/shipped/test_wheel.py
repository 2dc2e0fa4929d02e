"""The wheel alone, unpacked and used from elsewhere: what is in it, what it says of itself, and what its scripts do."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "LICENSE", "verl_softthink", "recipes", "examples")
#: Stands in for the interpreter of a run script: prints verl's overrides, finds checkpoints, does nothing else.
INTERPRETER = """#!/usr/bin/env bash
case "$*" in
    "-m verl.trainer.main_ppo "*) printf '%s\\n' "$@" ;;
    "-c "*checkpoint_path*) exec {python} "$@" ;;
esac
"""
#: What a user of the wheel does first, in one process: a copy, a second copy, the list, the checkpoint, both plugins.
FIRST_STEPS = """
import json, sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typer.testing import CliRunner
import verl_softthink
from verl_softthink.cli import app
from verl_softthink.pocket import OVERTHINKING, checkpoint_path

run = lambda *words: CliRunner().invoke(app, words)
first, second, listed = run("recipes", "copy", sys.argv[1]), run("recipes", "copy", sys.argv[1]), run("recipes", "list")
entries = list(distribution("verl-softthink").entry_points)
# vLLM's takes as long to load as vLLM itself.
[entry.load() for entry in entries if entry.group != "vllm.general_plugins"]
print(json.dumps({
    "package": verl_softthink.__file__,
    "copy": [first.exit_code, first.output],
    "again": [second.exit_code, second.output],
    "recipes": listed.output.split(),
    "shown": run("recipes", "show", "soft_grpo").output,
    "unknown": run("recipes", "show", "softgrpo").output,
    "weights": [(checkpoint_path(*variant) / "model.safetensors").stat().st_size for variant in ((), (OVERTHINKING,))],
    "entry points": {entry.group: find_spec(entry.module).origin for entry in entries},
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the sources: setuptools leaves a folder ``build``, which a later build would read."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    (source / "examples" / "stale.pyc").touch()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source]
    build = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert build.returncode == 0, build.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture(scope="module")
def first_steps(unpacked, tmp_path_factory) -> tuple[dict, Path]:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run = subprocess.run(
        [sys.executable, "-c", FIRST_STEPS, "work"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(unpacked), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1]), elsewhere / "work"


def tracked(folder: str) -> set[str]:
    """Files of a folder of the checkout that are no by-products."""
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in files}


def test_it_holds_the_package_and_every_script_and_nothing_beside(unpacked):
    held = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    code = {path for path in tracked("verl_softthink") if not path.endswith(".md")}
    scripts = {f"verl_softthink/shipped/{path}" for name in ("recipes", "examples") for path in tracked(name)}
    assert len(scripts) > 50 and code | scripts <= held
    assert {path.partition("/")[0] for path in held} == {"verl_softthink", "verl_softthink-0.1.0.dist-info"}
    assert not [path for path in held if path.endswith(".pyc")]


def test_it_describes_itself_without_the_checkout(unpacked):
    """No link of the description may point into a folder that a package index does not have."""
    (folder,) = unpacked.glob("*.dist-info")
    metadata = message_from_string((folder / "METADATA").read_text(encoding="utf-8"))
    description = metadata.get_payload()
    links = re.findall(r"\]\(([^)\s]*)", description) + re.findall(r"(?:src|href)=\"([^\"]*)", description)
    assert len(links) >= 5 and [link for link in links if not link.startswith("https://")] == []
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert all(url.partition(", ")[2].startswith("https://") for url in metadata.get_all("Project-URL"))
    versions = {line.rpartition(" ")[2] for line in metadata.get_all("Classifier") if ":: Python :: 3." in line}
    assert versions == {"3.11", "3.12"}


def test_the_first_steps_work_from_elsewhere(first_steps, unpacked):
    said, work = first_steps
    assert Path(said["package"]).is_relative_to(unpacked)
    code, text = said["copy"]
    assert code == 0 and "work/recipes and work/examples" in text
    script = re.search(r"next: bash (\S+\.sh),", text)[1]
    assert (work.parent / script).is_file()
    code, text = said["again"]
    assert code == 2 and "work/recipes exists and is not overwritten" in text
    assert {"soft_grpo", "soft_tokens", "repro", "attnrl", "variational", "cpu"} <= set(said["recipes"])
    assert "softthink:" in said["shown"] and "the recipes are attnrl, cpu" in said["unknown"]
    assert min(said["weights"]) > 10**6
    assert set(said["entry points"]) == {"console_scripts", "verl.plugins", "vllm.general_plugins"}
    assert all(Path(origin).is_relative_to(unpacked) for origin in said["entry points"].values())


def test_a_copy_is_complete(first_steps):
    _, work = first_steps
    copied = {str(path.relative_to(work)) for path in work.rglob("*") if path.is_file()}
    assert copied == tracked("recipes") | tracked("examples")


def test_links_of_a_copy_stay_inside_it(first_steps):
    _, work = first_steps
    documents = sorted(work.rglob("*.md"))
    broken = [
        f"{document.relative_to(work)}: {link}"
        for document in documents
        for link in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
        if "://" not in link and not (document.parent / link).exists()
    ]
    assert len(documents) >= 8 and broken == []


def test_copied_scripts_run_where_they_are(first_steps, unpacked, tmp_path):
    _, work = first_steps
    interpreter = tmp_path / "python"
    interpreter.write_text(INTERPRETER.format(python=sys.executable))
    interpreter.chmod(0o755)
    environment = {"PYTHONPATH": str(unpacked), "PYTHON": str(interpreter), "DATA": str(tmp_path / "data")}
    scripts = sorted(path for path in work.rglob("run_*.sh") if path.name != "run_table.sh")
    assert len(scripts) >= 15
    for script in scripts:
        run = subprocess.run(
            ["bash", str(script)],
            cwd=tmp_path,
            env={**os.environ, **environment, "OUT": str(tmp_path / script.parent.name / script.stem)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.returncode == 0, f"{script}: {run.stderr}"
        assert str(ROOT) not in run.stdout, script
        # verl's SFT trainer is started by torchrun, whose command line the interpreter does not print.
        assert "data.train_files=" in run.stdout or "torch.distributed.run" in script.read_text(), script
