"""Folders of work: other inputs are refused by name, and so is a second process."""

import json
import os
import shutil
import signal

import pytest

from verl_softthink.errors import FileError
from verl_softthink.files.digests import file_digest, model_digest
from verl_softthink.files.work_folder import INPUTS, WorkFolder
from verl_softthink.pocket import checkpoint_path

SETTINGS = {"seed": 0, "phase": {"budget": 4}, "modes": {"gumbel": {"law": {"tau": 0.1}}}}


def start(path, inputs, growing=("modes",)):
    """A process that begins and ends."""
    WorkFolder(path, inputs, option="--out", growing=growing).close()


def test_changed_settings_are_refused_by_name_and_modes_may_be_added(tmp_path):
    start(tmp_path, SETTINGS)
    start(tmp_path, SETTINGS)
    for changed, named in (
        ({"phase": {"budget": 5}}, r"phase.budget was 4, now 5\); give another --out, or remove the folder"),
        ({"modes": {"gumbel": {"law": {"tau": 0.2}}}}, r"modes.gumbel.law.tau was 0.1, now 0.2"),
        ({"data": "x"}, r"data was None, now 'x'"),
    ):
        with pytest.raises(FileError, match=named):
            start(tmp_path, SETTINGS | changed)
    start(tmp_path, SETTINGS | {"modes": {"concrete": {"law": {"tau": 1.0}}}})
    assert set(json.loads((tmp_path / INPUTS).read_text())["modes"]) == {"gumbel", "concrete"}
    with pytest.raises(FileError, match=r"modes.gumbel.law.tau"):
        start(tmp_path, SETTINGS | {"modes": {"gumbel": {"law": {"tau": 0.2}}}})


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(checkpoint_path(), tmp_path / "model")


@pytest.mark.parametrize(
    "file", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"]
)
def test_a_model_that_was_replaced_at_its_path_is_refused_whatever_its_dates_and_sizes(model, tmp_path, file):
    start(tmp_path / "out", {"model": model_digest(model)}, ())
    (path,) = model.glob(file)
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(FileError, match=f"{tmp_path / 'out'}: it holds .* \\(model.{file} has other content\\)"):
        start(tmp_path / "out", {"model": model_digest(model)}, ())


def test_files_that_come_and_go_are_named_and_a_copy_is_the_same(model, tmp_path):
    start(tmp_path / "out", {"model": model_digest(model)}, ())
    start(tmp_path / "out", {"model": model_digest(shutil.copytree(model, tmp_path / "copy"))}, ())
    (model / "adapter.safetensors").write_bytes(b"x")
    (model / "config.json").unlink()
    with pytest.raises(FileError) as refused:
        start(tmp_path / "out", {"model": model_digest(model)}, ())
    assert "model.config.json is missing; model.adapter.safetensors is new" in str(refused.value)


def test_the_digest_is_of_the_content_alone(tmp_path):
    for name, content in (("a", b"same"), ("b", b"same"), ("c", b"other")):
        (tmp_path / name).write_bytes(content)
    first, second, third = (file_digest(tmp_path / name) for name in "abc")
    assert first == second != third


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"modes": 3}', b"[" * 9_000])
def test_a_damaged_record_of_the_inputs_is_refused_by_its_path(tmp_path, content):
    (tmp_path / INPUTS).write_bytes(content)
    with pytest.raises(FileError, match=f"{tmp_path / INPUTS}: "):
        start(tmp_path, SETTINGS)


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path):
    ready, told = os.pipe()
    first = os.fork()
    if first == 0:
        folder = WorkFolder(tmp_path, SETTINGS, option="--work")
        os.write(told, b"x")
        signal.pause()
        folder.close()
    os.read(ready, 1)
    sentence = f"{tmp_path}: another process is at work in it; wait until it ends, or give another --work"
    with pytest.raises(FileError, match=sentence):
        WorkFolder(tmp_path, SETTINGS, option="--work")
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    with WorkFolder(tmp_path, SETTINGS, option="--work"), pytest.raises(FileError, match="another process"):
        WorkFolder(tmp_path, SETTINGS, option="--work")
    start(tmp_path, SETTINGS)


def test_what_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="file: File exists; give another --out"):
        start(tmp_path / "file", SETTINGS)
