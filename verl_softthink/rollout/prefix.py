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
from torch import Tensor

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, ParameterValue
from verl_softthink.rollout.phase.history import history_rows, resumed_phase
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.to_device import to_device
from verl_softthink.trace import END_REASONS, SoftTrace, embedding_columns, pack_rows, slots_of_rows, unpack_rows

#: Fields of an encoded prefix: positions, the law that drew them, packed rows of int32, and seeds of int64 where
#: embeddings are rebuilt.
LENGTH, LAW, ROWS, SEEDS = "length", "law", "rows", "seeds"
_KEY = "softthink.prefix"


def encode_prefix(trace: SoftTrace, law: LawSettings) -> dict:
    """A trace as plain values that travel in ``SamplingParams.extra_args``.

    Args:
        law: drew it, and must draw its continuation: candidates and values are fed as this law turns them into weights.

    Raises:
        ValueError: when the trace has no positions, was stopped in its answer, which nothing can continue, or has lost
            the scales of its noise.
    """
    if not len(trace):
        raise ValueError(f"{_KEY} is empty: leave the key out to begin a response")
    if trace.cut:
        raise ValueError(f"{_KEY} ends with the stop token of an answer over its budget; cut the trace before it")
    if trace.scale is None and (trace.fed is not None or trace.seed is not None):
        raise ValueError(
            f"{_KEY} has drawn embeddings without the scales of their noise, which a dump does not keep; give the "
            "trace as the engine returned it"
        )
    none = torch.zeros(len(trace), dtype=torch.bool)
    reason = torch.zeros(len(trace), dtype=torch.int32)
    if trace.end_of_thinking is not None:
        reason[trace.end_of_thinking] = END_REASONS.index(trace.end_reason)
    rows = pack_rows(
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
    seeds = None if trace.seed is None else trace.seed.long().contiguous().numpy().tobytes()
    return {
        LENGTH: len(trace),
        LAW: law_values(law.name, law.parameters),
        ROWS: rows.contiguous().numpy().tobytes(),
        SEEDS: seeds,
    }


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
        raise ValueError(f"{_KEY}.rows has {len(data)} bytes, which are not {length} rows; use encode_prefix(trace)")
    rows = np.frombuffer(data, dtype=np.int32).reshape(length, -1)
    if embedding_columns(rows) < 0 or (slots_of_rows(rows) != slots_of_rows(rows[:1])).any():
        raise ValueError(f"{_KEY}.rows has {count} numbers, which are not {length} rows; use encode_prefix(trace)")
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
            f"{_KEY}.seeds has {len(prefix[SEEDS])} bytes for {prefix[LENGTH]} positions of 8; use encode_prefix(trace)"
        )
    return np.frombuffer(prefix[SEEDS], dtype=np.int64)


def decode_prefix(prefix: dict) -> SoftTrace:
    """The trace that was encoded.

    Raises:
        ValueError: when the values are not those of ``encode_prefix``.
    """
    seeds = prefix_seeds(prefix)
    return unpack_rows(prefix_rows(prefix), seed=None if seeds is None else torch.from_numpy(seeds.copy()))


def check_law(prefix: dict, asked: dict) -> None:
    """Check that a prefix is continued by the law that drew it.

    Args:
        asked: ``law_values`` of the request.

    Raises:
        ValueError: naming both laws.
    """
    if prefix[LAW] != asked:
        raise ValueError(
            f"{_KEY} was drawn by {prefix[LAW]}, and softthink.law is {asked}: continue it with the law that drew it"
        )


def check_prefix(trace: SoftTrace, prompt: list[int], *, law: str, rebuilt: bool, width: int, vocabulary: int) -> None:
    """Check that the engine can feed a prefix again: a trace of exactly these tokens, with what the law needs.

    Args:
        trace: P positions.
        prompt: the request's prompt, which ends with the P tokens that the trace shows.
        law: the request's.
        rebuilt: the request's embeddings are rebuilt from seeds rather than carried.
        width: candidate slots of the engine.
        vocabulary: V.

    Raises:
        ValueError: naming the position, what is wrong with it and the fix.
    """
    length = len(trace)
    if length >= len(prompt):
        raise ValueError(
            f"{_KEY} has {length} positions and the prompt {len(prompt)} tokens: the prompt must end with the prefix's "
            "tokens, behind at least one of its own"
        )
    used = trace.ids != NO_CANDIDATE
    if used[:, width:].any():
        raise ValueError(
            f"{_KEY} has candidates beyond the engine's {width} slots; raise "
            "additional_config.softthink.max_candidates to those of the engine that drew it"
        )
    foreign = used & ((trace.ids < 0) | (trace.ids >= vocabulary))
    _refuse(foreign.any(-1), trace.ids, f"has token ids outside the vocabulary of {vocabulary}; it is another model's")
    shown = torch.tensor(prompt[-length:])
    stray = trace.drawn & (trace.ids != shown[:, None]).all(-1)
    _refuse(stray, trace.ids, "has candidates of which none is the prompt's token; give the tokens that it shows")
    _refuse(used.any(-1) & ~trace.values.isfinite().all(-1), trace.values, "has values that are not finite")
    impossible = (trace.soft & ~trace.drawn) | (trace.drawn & trace.forced) | (trace.discrete & trace.drawn)
    _refuse(impossible, trace.ids, "is of two kinds at once; use encode_prefix(trace) on a trace of the engine")
    if not LAWS[law].draws_embedding:
        if trace.fed is not None or trace.seed is not None:
            raise ValueError(f"{_KEY} carries drawn embeddings or their seeds, and the law {law!r} draws none")
    elif rebuilt and trace.seed is None:
        raise ValueError(
            f"{_KEY} has no seeds, from which law.fed='seed' rebuilds what was fed; set the trace's seed: "
            "dataclasses.replace(trace, seed=torch.full((len(trace),), SEED))"
        )
    elif not rebuilt and trace.fed is None:
        raise ValueError(f"{_KEY} has no fed embeddings, which the law {law!r} feeds; give the trace that carries them")
    if trace.fed is not None:
        _refuse(trace.soft & ~trace.fed.isfinite().all(-1), trace.ids, "was fed numbers that are not finite")


def _refuse(wrong: Tensor, shown: Tensor, reason: str) -> None:
    if wrong.any():
        position = int(wrong.nonzero()[0])
        raise ValueError(f"{_KEY}: position {position} ({shown[position].tolist()}) {reason}")


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
