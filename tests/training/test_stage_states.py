"""States of methods beside a checkpoint: what goes in comes out, and no file can run code."""

import pickle

import numpy as np
import pytest
import torch

from verl_softthink.methods.stage import Stage
from verl_softthink.training.stage_states import STATE_FILE, load_states, save_states


class Kept(Stage):
    """A stage whose state is what it was given."""

    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def test_plain_values_and_tensors_come_back(tmp_path):
    state = {
        "count": 3,
        "mean": 0.1,
        "rows": [{"prompt": [{"role": "user", "content": "π ≈ 3"}], "index": np.int64(4), "solution": None}],
        "tensor": torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8),
    }
    save_states(tmp_path / "global_step_1", {"mine": Kept(state), "silent": Kept({})})
    mine, other = Kept(), Kept()
    load_states(tmp_path / "global_step_1", {"mine": mine, "other": other})
    tensor = mine.state.pop("tensor")
    assert torch.equal(tensor, state.pop("tensor")) and tensor.dtype == torch.uint8
    assert mine.state == state and other.state is None


def test_nothing_is_written_without_a_state_and_nothing_read_without_a_file(tmp_path):
    save_states(tmp_path / "step", {"silent": Kept({})})
    assert not (tmp_path / "step").exists()
    load_states(tmp_path, {"mine": Kept()})


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="cannot hold a object"):
        save_states(tmp_path, {"mine": Kept({"x": object()})})
    assert not (tmp_path / STATE_FILE).exists()


class Exploit:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of the checkpoint ran')",)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe", b"[]", b"[" * 20_000, pickle.dumps(Exploit())),
        *(
            b'{"mine": {"x": {"tensor": %s, "dtype": %s}}}' % pair
            for pair in ((b"[1]", b'"load"'), (b'["a"]', b'"int64"'))
        ),
    ],
)
def test_a_damaged_or_hostile_file_is_refused_by_its_path(tmp_path, content):
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=f"{STATE_FILE}: .* the checkpoint is damaged"):
        load_states(tmp_path, {"mine": Kept()})
