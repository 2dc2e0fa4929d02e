"""Traces of an engine against what the plain loop of ``oracles.rollout`` draws from the same inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from oracles.rollout import draw
from oracles.rollout_laws import noise_among_candidates
from torch import Tensor

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, Action
from verl_softthink.laws.gaussian import coordinate_noise
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.trace import SoftTrace

LOG_DENSITY_TOLERANCE = 1e-4
#: Log-densities above this size are compared relative to it: float32 has seven digits.
_LARGE = 50


@dataclass(frozen=True)
class Compared:
    """Draws of one response: how many, and the largest difference of their log-densities."""

    positions: int
    largest_gap: float


def compare_draws(
    trace: SoftTrace, token_ids: Sequence[int], logits: Tensor, request: SoftRequest, table: Tensor
) -> Compared:
    """Assert that candidates, shown tokens and values are those of the loop, and return how far densities are apart.

    Args:
        logits: [T, V] the loop's.
        table: [V, H] the input embeddings.
    """
    gaps = []
    for position in trace.drawn.nonzero()[:, 0].tolist():
        expected = draw(logits[position], request, position, table)
        assert _ids(trace, position).tolist() == expected.ids
        assert token_ids[position] == expected.shown
        values = trace.values[position, : len(expected.ids)].double()
        torch.testing.assert_close(values, torch.tensor(expected.values).double(), rtol=1e-4, atol=1e-4)
        log_prob = expected.log_prob if trace.soft[position] else expected.shown_log_prob
        gaps.append(abs(float(trace.log_prob[position]) - log_prob) / max(1.0, abs(log_prob) / _LARGE))
        if expected.fed is not None and not request.rebuilds_embedding:
            torch.testing.assert_close(trace.fed[position].double(), expected.fed, rtol=0, atol=1e-5)
    return Compared(len(gaps), max(gaps, default=0.0))


def response_inputs(table: Tensor, trace: SoftTrace, token_ids: Sequence[int], law: dict, seed: int) -> Tensor:
    """[T, H] what a response fed, rebuilt from the trace alone (and the seed, where the trace says no more).

    Args:
        table: [V, H] the input embeddings.
        law: its settings.
        seed: of the noise.
    """
    settings = LawSettings(**law)
    weights = LAWS[settings.name].weights(
        Action(ids=trace.ids.long(), values=trace.values), settings.columns(len(trace))
    )
    inputs = table[torch.tensor(list(token_ids))].clone()
    for position in trace.soft.nonzero()[:, 0].tolist():
        ids = _ids(trace, position)
        inputs[position] = (weights[position, : len(ids), None] * table[ids]).sum(0)
    if settings.carries_embedding:
        return torch.where(trace.soft[:, None], trace.fed, inputs)
    if settings.parameters.get("covariance") == "candidates":
        return _with_noisy_weights(table, trace, inputs, settings, seed)
    if settings.rebuilds_embedding:
        noise = coordinate_noise(torch.full((len(trace),), seed), torch.arange(len(trace)), table.shape[1])
        return torch.where(trace.soft[:, None], inputs + trace.scale[:, None] * noise, inputs)
    return inputs


def _with_noisy_weights(table: Tensor, trace: SoftTrace, inputs: Tensor, settings: LawSettings, seed: int) -> Tensor:
    """The inputs of a response that fed mixtures with noisy weights, one position at a time."""
    inputs, request = inputs.clone(), SimpleNamespace(seed=seed, parameters=settings.parameters)
    for position in trace.soft.nonzero()[:, 0].tolist():
        ids = _ids(trace, position)
        weights = trace.values[position, : len(ids)].softmax(-1).tolist()
        inputs[position], _ = noise_among_candidates(ids.tolist(), weights, request, position, table.double())
    return inputs


def _ids(trace: SoftTrace, position: int) -> Tensor:
    ids = trace.ids[position]
    return ids[ids != NO_CANDIDATE].long()
