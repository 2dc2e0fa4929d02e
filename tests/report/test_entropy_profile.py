"""The entropy profile against a loop over positions, from a dump to the figure."""

import math

import pytest
import torch

from verl_softthink.dump import DumpedResponse, dump_path, write_dump
from verl_softthink.methods.entropy_profile.metrics import profile_metrics
from verl_softthink.report.entropy_profile import (
    entropy_profile,
    plot_entropy_profiles,
    thinking_of,
)
from verl_softthink.trace import SoftTrace


def _responses():
    generator = torch.Generator().manual_seed(0)
    entropies, thinking = [], []
    for length, thought in ((5, 3), (8, 8), (2, 1), (6, 0), (7, 5)):
        entropies.append(torch.rand(length, generator=generator))
        thinking.append(torch.arange(length) < thought)
    return entropies, thinking


def test_mean_at_each_position_over_the_responses_that_reach_it():
    entropies, thinking = _responses()
    thinking[1][2] = False  # a forced token inside: the thought goes on behind it
    mean, count = entropy_profile(entropies, thinking)
    thoughts = [[float(e) for e, t in zip(*row, strict=True) if t] for row in zip(entropies, thinking, strict=True)]
    assert len(mean) == max(map(len, thoughts)) == 7
    for position in range(7):
        reached = [thought[position] for thought in thoughts if len(thought) > position]
        assert int(count[position]) == len(reached)
        assert float(mean[position]) == pytest.approx(math.fsum(reached) / len(reached))
    metrics = profile_metrics(mean, count, [0, 6, 7])
    every = [value for thought in thoughts for value in thought]
    assert metrics == pytest.approx(
        {
            "softthink/entropy_profile/0": float(mean[0]),
            "softthink/entropy_profile/6": float(mean[6]),
            "softthink/entropy_profile/mean": math.fsum(every) / len(every),
        }
    )


def test_no_thoughts_no_metrics():
    mean, count = entropy_profile([torch.rand(3)], [torch.zeros(3, dtype=torch.bool)])
    assert len(mean) == len(count) == 0 and profile_metrics(mean, count, [0]) == {}


def _dump(directory, step, *, extra=True):
    entropies, thinking = _responses()
    responses = []
    for number, (entropy, thought) in enumerate(zip(entropies, thinking, strict=True)):
        trace = SoftTrace.of_tokens(torch.zeros(len(entropy)))
        trace.drawn.copy_(thought)
        ids = torch.arange(len(entropy), dtype=torch.int32)
        fields = {"entropy": entropy} if extra else {}
        responses.append(DumpedResponse(f"p_{number}_0", ids, ids.clone(), trace, 1.0, "7", fields))
    write_dump(responses, {"name": "discrete"}, dump_path(directory, step))
    return responses


def test_a_discrete_run_thinks_all_along(tmp_path):
    responses = _dump(tmp_path, 1)
    assert thinking_of(responses[0]).tolist() == [True] * 3 + [False] * 2
    assert thinking_of(responses[3]).all() and len(thinking_of(responses[3])) == 6


def test_figure_of_the_last_dump(tmp_path):
    for step in (2, 10):
        _dump(tmp_path / "run" / "rollouts", step)
    out = plot_entropy_profiles([("soft", tmp_path / "run")], tmp_path / "profile.png")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no traces-\*.safetensors"):
        plot_entropy_profiles([("soft", tmp_path)], tmp_path / "profile.png")
    _dump(tmp_path, 1, extra=False)
    with pytest.raises(
        ValueError, match=r"traces-1.safetensors: it has no entropies; add \+softthink.entropy_profile="
    ):
        plot_entropy_profiles([("soft", tmp_path)], tmp_path / "profile.png")
