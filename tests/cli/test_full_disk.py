"""Commands that cannot write: exit code 2, one sentence with the path of what was to be written, and no half a file.

The operating system refuses every byte beyond a file's size limit, which stands for a full disk: whichever library
writes gets an error of the same kind.
"""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import sound_files
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.dump import dump_path, write_dump
from verl_softthink.errors import FileError

#: Command and what it writes first; {} stands for a folder of sound files.
WRITERS = {
    "inspect {}/run --out {}/page.html": "page.html",
    "summary {}/run": "run/summary.json",
    "plot {}/run --out {}/curve.png": "curve.png",
    "plot {}/eval.json --out {}/curve.png": "curve.png",
    "eval-table {}/eval.json --out {}/table": "table/table.md",
    "entropy-profile {}/run --out {}/profile.png": "profile.png",
    "data gsm8k --file test={}/gsm8k.jsonl --out {}/data": "data/gsm8k-test.parquet",
    "data word-problems --train 4 --heldout 2 --out {}/data": "data/train.parquet",
    "eval --checkpoint {}/model --data {}/problems.parquet --modes gumbel --out {}/out": "out/settings.json",
    "ood {}/model --tasks arc --out {}/out": "out/settings.json",
    "data variational --questions {}/questions.parquet --model {}/model --work {}/work": "work/settings.json",
    "chain 7+8*3+0 {}/chain.txt --answer 5 --model {}/model --out {}/page.html": "page.html",
}


@contextmanager
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return sound_files.make(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("command", WRITERS)
def test_a_full_disk_is_one_sentence_with_the_path(command, sound):
    arguments = [word.replace("{}", str(sound)) for word in command.split()]
    with full_disk():
        result = CliRunner().invoke(app, arguments)
    path, message = sound / WRITERS[command], result.stderr.rpartition("it/s]")[2].strip()
    assert result.exit_code == 2, repr(result.exception)
    assert message.startswith(f"{path}: ") and "it cannot be written" in message and "\n" not in message
    assert os.strerror(errno.EFBIG) in message and not path.exists()


def test_a_dump_that_cannot_be_written_names_its_path_and_leaves_the_old_one(tmp_path):
    path = dump_path(tmp_path, 3)
    write_dump([sound_files.response(0)], sound_files.LAW, path)
    before = path.read_bytes()
    with full_disk(), pytest.raises(FileError, match=f"{path}: .*it cannot be written"):
        write_dump([sound_files.response(1)], sound_files.LAW, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", [command for command in WRITERS if "--out {}/" in command])
def test_a_file_in_the_place_of_a_folder_is_one_sentence_with_the_path(command, sound, tmp_path):
    (tmp_path / "taken").write_text("x")
    arguments = command.replace("--out {}/", f"--out {tmp_path}/taken/").replace("{}", str(sound)).split()
    result = CliRunner().invoke(app, arguments)
    message = result.stderr.rpartition("it/s]")[2].strip()
    assert result.exit_code == 2, repr(result.exception)
    assert str(tmp_path / "taken") in message and "\n" not in message
