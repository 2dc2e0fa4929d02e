"""Rollout dumps come back as written, a killed writer leaves whole files only, and they are as large as stated."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from verl_softthink import dump
from verl_softthink.dump import DumpedResponse, dump_path, read_dump, write_dump
from verl_softthink.trace import SoftTrace

LAW = {"name": "gumbel", "tau": 0.1, "noise_scale": 1.0, "normalise_over": None}
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_dump import LAW, response
from verl_softthink.dump import dump_path, write_dump
responses = [response(4096, seed=seed) for seed in range(64)]
print("writing", flush=True)
step = 0
while True:
    write_dump(responses, LAW, dump_path(Path(sys.argv[1]), step))
    step += 1
"""


def response(length: int, *, seed: int = 0, candidates: int = 5, prompt: int = 20, extra: int = 0) -> DumpedResponse:
    generator = torch.Generator().manual_seed(seed)
    flags = torch.rand(4, length, generator=generator) < 0.5
    trace = SoftTrace(
        soft=flags[0].clone(),
        drawn=flags[1].clone(),
        forced=flags[2].clone(),
        discrete=flags[3].clone(),
        ids=torch.randint(-1, 100, (length, candidates), generator=generator).int(),
        values=torch.randn(length, candidates, generator=generator),
        log_prob=torch.randn(length, generator=generator),
        entropy=torch.full((length,), torch.nan),
        end_reason="cold_stop",
    )
    return DumpedResponse(
        key=f"0f8fad5b-d9cb-469f-a165-70867728950e_{seed}_0",
        prompt_ids=torch.randint(0, 100, (prompt,), generator=generator).int(),
        response_ids=torch.randint(0, 100, (length,), generator=generator).int(),
        trace=trace,
        reward=0.123456789012345,
        answer="42",
        extra={f"method/field_{number}": torch.rand(length, generator=generator) for number in range(extra)},
    )


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(first.nan_to_num(7.0), second.nan_to_num(7.0))


def test_what_was_written_comes_back(tmp_path):
    written = [response(11, seed=1, extra=2), response(3, seed=2)]
    write_dump(written, LAW, dump_path(tmp_path / "new", 7))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["traces-7.safetensors"]
    read, law = read_dump(dump_path(tmp_path / "new", 7))
    assert law == LAW and len(read) == 2
    for old, new in zip(written, read, strict=True):
        assert (old.key, old.reward, old.answer, old.trace.end_reason) == (
            *(new.key, new.reward, new.answer),
            new.trace.end_reason,
        )
        assert same(old.prompt_ids, new.prompt_ids) and same(old.response_ids, new.response_ids)
        for name in ("soft", "drawn", "forced", "discrete", "ids", "values", "log_prob", "entropy"):
            assert same(getattr(old.trace, name), getattr(new.trace, name)), name
        assert {name: values.tolist() for name, values in old.extra.items()} == {
            name: values.tolist() for name, values in new.extra.items()
        }


def test_another_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="model.safetensors: it is not a rollout dump"):
        read_dump(tmp_path / "model.safetensors")


def test_a_dump_of_another_version_is_refused(tmp_path, monkeypatch):
    path = dump_path(tmp_path, 1)
    with monkeypatch.context() as older:
        older.setattr(dump, "_TRACE_TENSORS", tuple(name for name in dump._TRACE_TENSORS if name != "discrete"))
        write_dump([response(3)], LAW, path)
    with pytest.raises(ValueError, match="has no discrete of its responses: another version"):
        read_dump(path)


def test_a_killed_writer_leaves_whole_files_only(tmp_path):
    """Killed in the middle of a file, five times over, each time starting from the same directory."""
    torn = 0
    for _ in range(5):
        code = WRITER.format(here=os.path.dirname(__file__))
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout.readline() == "writing\n"
        deadline = time.monotonic() + 60
        # A whole file first; then as soon as there is an unfinished one.
        while time.monotonic() < deadline and not any(tmp_path.glob("*.safetensors")):
            time.sleep(0.001)
        while time.monotonic() < deadline and not any(tmp_path.glob("*.partial")):
            pass
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        torn += any(tmp_path.glob("*.partial"))
        whole = list(tmp_path.glob("*.safetensors"))
        assert whole
        for path in whole:
            responses, _ = read_dump(path)
            assert [len(response.trace) for response in responses] == [4096] * 64
    assert torn, "the writer was never in the middle of a file, so nothing was tested"


@pytest.mark.parametrize("candidates", [1, 5, 64])
def test_the_stated_size(tmp_path, candidates):
    def size(count: int, length: int, **shape: int) -> int:
        path = dump_path(tmp_path, 0)
        write_dump([response(length, seed=seed, candidates=candidates, **shape) for seed in range(count)], LAW, path)
        return path.stat().st_size

    count, length, more = 32, 1000, 3000
    a_position = 8 * candidates + 16
    # Offsets in the file's header have more digits in a longer file: a few bytes a tensor.
    slack = 11 * 2 * 2 * count
    assert size(count, more) - size(count, length) == pytest.approx(count * (more - length) * a_position, abs=slack)
    with_extra = size(count, length, extra=2) - size(count, length)
    assert 0 < with_extra - count * 2 * 4 * length <= count * 2 * 150
    fixed = size(count, length) - count * (length * a_position + 20 * 4)
    assert 0 < fixed <= count * 1200
