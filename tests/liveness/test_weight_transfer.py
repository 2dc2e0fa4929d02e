"""Weight transfer over real sockets and shared memory: bounded waits, reported failures, copied tensors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from verl_softthink.liveness import limits

TIMEOUT_S = "1"
SWITCHES = {"VERL_PLATFORM": "cpu", "VERL_SOFTTHINK_BOUNDED_WAITS": "1"}


@pytest.fixture(scope="module")
def results():
    environment = {**os.environ, **SWITCHES, limits.TRANSFER: TIMEOUT_S, "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("transfer_scenarios.py")
    run = subprocess.run(
        [sys.executable, str(script), TIMEOUT_S], env=environment, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_plugin_replaced_both_classes(results):
    assert results["classes"] == ["verl_softthink.liveness.weight_transfer"] * 2


def test_received_tensors_survive_the_reuse_of_the_bucket(results):
    assert results["kept"] == {
        "sender": "done",
        "receiver": "done",
        "equal": {"layer0": True, "layer1": True, "layer2": True},
    }
    assert results["stock_aliases"], "verl's receiver no longer hands out views: the copy can go"


@pytest.mark.parametrize(
    ("scenario", "side", "absent"),
    [
        ("no_receiver", "sender", "vLLM's worker"),
        ("no_sender", "receiver", "the trainer"),
        ("silent_receiver", "sender", "vLLM's worker"),
    ],
)
def test_absent_or_silent_side_is_named_with_the_bound(results, scenario, side, absent):
    message = results[scenario][side]
    assert message.startswith("WeightTransferError: ")
    assert f"{TIMEOUT_S} s ({limits.TRANSFER}) for {absent}" in message


def test_two_runs_on_one_machine_do_not_meet(results):
    assert results["two_runs"] == {"first": ["first"], "second": ["second"]}


def test_failing_receiver_tells_the_sender_why(results):
    message = results["failing_receiver"]["sender"]
    assert message.startswith("WeightTransferError: vLLM's worker could not load the weights: KeyError")
    assert "model.layers.7 has no such weight" in message


@pytest.mark.parametrize("text", ["fast", "0", "-1", "inf", "nan"])
def test_bounds_are_validated(monkeypatch, text):
    monkeypatch.setenv(limits.TRANSFER, text)
    with pytest.raises(ValueError, match=f"{limits.TRANSFER}='{text}'"):
        limits.transfer_timeout_s()
