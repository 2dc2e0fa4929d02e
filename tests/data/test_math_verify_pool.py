"""Real processes of math-verify: killed, hung, and replaced."""

import importlib.util
import multiprocessing
import os
import signal

import pytest

from verl_softthink.data import guarded_reward, math_verify_pool
from verl_softthink.data.math_reward import compute_score
from verl_softthink.data.math_verify_pool import NAME, PROCESSES, GradingFailure, equal

pytestmark = pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed")
#: Has about 3 * 10**8 digits, which take minutes.
HANGS = r"\binom{10^9}{5*10^8}"


def processes() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.name == NAME}


def use_every_process() -> None:
    for _ in range(PROCESSES):
        assert equal(r"\frac{2}{4}", r"\frac12") and not equal(r"\frac34", r"\frac12")


def test_a_killed_process_is_replaced():
    use_every_process()
    killed = processes()
    assert len(killed) == PROCESSES
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for child in multiprocessing.active_children():
        if child.pid in killed:
            child.join()
    use_every_process()
    assert len(processes()) == PROCESSES and not processes() & killed


def test_a_process_that_hangs_is_killed_and_replaced():
    use_every_process()
    before = processes()
    with pytest.raises(GradingFailure, match="math-verify did not answer within 1 s"):
        equal(HANGS, "x+2", seconds=1.0)
    assert len(processes() & before) == PROCESSES - 1
    use_every_process()


def test_a_failure_is_score_0_counted_and_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(math_verify_pool.equal, "__kwdefaults__", {"seconds": 1.0})
    # Another test of this process may have reported the same answer.
    guarded_reward._report.cache_clear()
    for _ in range(2):
        verdict = compute_score("any", f"\\boxed{{{HANGS}}}", "x+2", grader="math_verify")
        assert verdict == {"score": 0.0, "acc": 0.0, "grader_failure": 1.0}
    (record,) = caplog.records
    assert "did not answer within 1 s" in record.message and HANGS not in record.message
