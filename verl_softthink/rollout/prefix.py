"""A soft prefix: response positions that earlier requests drew, fed again as they were, and continued by a new request.

    extra_args["softthink"]["prefix"] = encode_prefix(trace.truncated(cut), law)     prompt: prompt + tokens[:cut]

The last positions of the prompt, as many as the trace has, are then positions 0, 1, ... of the response: soft ones are
fed their mixtures (or drawn embeddings), budget, marker, cold stop, switching and answer go on where they stood, and
the new tokens are numbered behind them. The request returns the trace of its new tokens alone (``SoftTrace.joined``).

Noise is a function of seed and position, so a continuation draws its own with a seed of its own; with the seed of the
first request it repeats that one. A mixture is formed from the table of the weights at hand: after an update its
candidates and weights are the same, their embeddings the updated ones, as they are for a token.
"""

from collections.abc import Mapping

import numpy as np
import torch

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, ParameterValue
from verl_softthink.rollout.phase.history import history_rows, resumed_phase
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.to_device import to_device
from verl_softthink.trace import END_REASONS, SoftTrace, are_packed, pack_rows, unpack_rows

#: Fields of an encoded prefix: positions, the law that drew them, packed rows of int32, and seeds of int64 where
#: embeddings are rebuilt.
LENGTH, LAW, ROWS, SEEDS = "length", "law", "rows", "seeds"
#: Where a request carries it, in messages.
KEY = "softthink.prefix"


def encode_prefix(trace: SoftTrace, law: LawSettings) -> dict:
    """A trace as plain values that travel in ``SamplingParams.extra_args``.

    Args:
        law: drew it, and must draw its continuation: candidates and values are fed as this law turns them into weights.

    Raises:
        ValueError: when the trace has no positions, was stopped in its answer, which nothing can continue, or has lost
            the scales of its noise.
    """
    if not len(trace):
        raise ValueError(f"{KEY} is empty: leave the key out to begin a response")
    if trace.cut:
        raise ValueError(f"{KEY} ends with the stop token of an answer over its budget; cut the trace before it")
    if trace.scale is None and (trace.fed is not None or trace.seed is not None):
        raise ValueError(
            f"{KEY} has drawn embeddings without the scales of their noise, which a dump does not keep; give the "
            "trace as the engine returned it"
        )
    seeds = None if trace.seed is None else trace.seed.long().contiguous().numpy().tobytes()
    return {
        LENGTH: len(trace),
        LAW: law_values(law.name, law.parameters),
        ROWS: rows_of(trace).tobytes(),
        SEEDS: seeds,
    }


def rows_of(trace: SoftTrace) -> np.ndarray:
    """[P, 4 + 2K + H] int32, the packed rows of a trace that was not cut; scales that it has lost are 0."""
    none = torch.zeros(len(trace), dtype=torch.bool)
    reason = torch.zeros(len(trace), dtype=torch.int32)
    if trace.end_of_thinking is not None:
        reason[trace.end_of_thinking] = END_REASONS.index(trace.end_reason)
    return (
        pack_rows(
            drawn=trace.drawn,
            soft=trace.soft,
            forced=trace.forced,
            discrete=trace.discrete,
            cut=none,
            reason=reason,
            log_prob=trace.log_prob,
            entropy=trace.entropy,
            scale=torch.zeros(len(trace)) if trace.scale is None else trace.scale,
            ids=trace.ids,
            values=trace.values,
            fed=trace.fed,
        )
        .contiguous()
        .numpy()
    )


def law_values(law: str, parameters: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """What a prefix records of its law: the name, and the parameters that its formulas read."""
    return {"law": law} | {
        declared.name: parameters[declared.name] for declared in LAWS[law].parameters if declared.dtype is not None
    }


def prefix_rows(prefix: dict) -> np.ndarray:
    """[P, C] int32, the packed rows of an encoded prefix.

    Raises:
        ValueError: when they are not rows of that many positions.
    """
    length, data = prefix[LENGTH], prefix[ROWS]
    count = len(data) // 4
    if not data or len(data) % 4 or count % length:
        raise ValueError(f"{KEY}.rows has {len(data)} bytes, which are not {length} rows; use encode_prefix(trace)")
    rows = np.frombuffer(data, dtype=np.int32).reshape(length, -1)
    if not are_packed(rows):
        raise ValueError(f"{KEY}.rows has {count} numbers, which are not {length} rows; use encode_prefix(trace)")
    return rows


def prefix_seeds(prefix: dict) -> np.ndarray | None:
    """[P] int64, or None.

    Raises:
        ValueError: when there is not one seed a position.
    """
    if prefix[SEEDS] is None:
        return None
    if len(prefix[SEEDS]) != 8 * prefix[LENGTH]:
        raise ValueError(
            f"{KEY}.seeds has {len(prefix[SEEDS])} bytes for {prefix[LENGTH]} positions of 8; use encode_prefix(trace)"
        )
    return np.frombuffer(prefix[SEEDS], dtype=np.int64)


def decode_prefix(prefix: dict) -> SoftTrace:
    """The trace that was encoded.

    Raises:
        ValueError: when the values are not those of ``encode_prefix``.
    """
    seeds = prefix_seeds(prefix)
    return unpack_rows(prefix_rows(prefix), seed=None if seeds is None else torch.from_numpy(seeds.copy()))


def load_prefix(state: SoftState, slot: int, request: SoftRequest, prompt: list[int]) -> None:
    """Fill the first positions of a slot's history with a prefix, as if the request had drawn it.

    Args:
        slot: of a request that was just added.
        request: its settings, with a prefix that the frontend has checked.
        prompt: the request's prompt, which ends with the prefix's tokens.
    """
    trace, tokens = decode_prefix(request.prefix), prompt[-request.soft_prefix_length :]
    count, width = len(trace), min(trace.ids.shape[1], state.width)
    trace = trace.narrowed(width)
    end = trace.end_of_thinking
    # A thought's last token is counted by the step behind it.
    thought = tokens[:-1] if end is None else tokens[:end]
    begun = state.begun(request, thought)
    rows = history_rows(trace, tokens, resumed_phase(trace, tokens, request, begun), begun)
    state.phases.load(slot, to_device(rows, state.device))
    state.ids[slot, :count, :width] = to_device(trace.ids, state.device)
    state.values[slot, :count, :width] = to_device(trace.values, state.device)
    if trace.ids.shape[1] < state.width:
        state.ids[slot, :count, width:] = NO_CANDIDATE
    state.scale[slot, :count] = to_device(trace.scale, state.device)
    if trace.seed is not None:
        state.seeds[slot, :count] = to_device(trace.seed, state.device)
    if trace.fed is not None:
        state.fed[slot, :count] = to_device(trace.fed.to(state.fed.dtype), state.device)
