"""What a soft prefix must be before the engine feeds it: unknown bytes become a trace that an engine leaves.

Checked in the frontend, from the outside in: lengths before anything is copied, then the rows' form, the kinds of
position, candidates and values, drawn embeddings, and last what phase control would have done.
"""

import math

import numpy as np
import torch
from torch import Tensor

from verl_softthink.config.messages import shown
from verl_softthink.laws import LAWS, NO_CANDIDATE, Action
from verl_softthink.rollout.phase.history import resumed_phase
from verl_softthink.rollout.prefix import KEY, LAW, LENGTH, decode_prefix, law_values, prefix_rows, rows_of
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.thinking import EndOfThinking
from verl_softthink.trace import SoftTrace, embedding_columns

#: Nats. Beyond every value that a law draws: the log-weights of the sharpest Dirichlet draw stay above -1e17.
LARGEST_VALUE = 1e18
#: Beyond the entries of embedding tables with the strongest noise, and finite in float16 with a noise of 8 scales.
LARGEST_COORDINATE = 1e4
LARGEST_SCALE = LARGEST_COORDINATE / 10
#: Of sums of weights from 1, and of entropies from 0 and log V: both are rounded in float32.
ROUNDING = 1e-3


def checked_prefix(
    request: SoftRequest, prompt: list[int], end: EndOfThinking, *, width: int, vocabulary: int, hidden: int
) -> SoftTrace | None:
    """The trace of a request's prefix, once the engine can feed it again and continue it; None without a prefix.

    Args:
        prompt: ends with the tokens that the trace shows.
        end: finds the request's end-of-thinking marker.
        width: candidate slots of the engine.
        vocabulary: V.
        hidden: H, numbers of an embedding.

    Raises:
        ValueError: naming the position, what is wrong with it and the fix.
    """
    prefix = request.prefix
    if prefix is None:
        return None
    if prefix[LENGTH] >= len(prompt):
        raise ValueError(
            f"{KEY} has {shown(prefix[LENGTH])} positions and the prompt {len(prompt)} tokens: the prompt must end "
            "with the prefix's tokens, behind at least one of its own"
        )
    asked = law_values(request.law, request.parameters)
    if prefix[LAW] != asked:
        raise ValueError(
            f"{KEY} was drawn by {shown(prefix[LAW])}, and softthink.law is {asked}: continue it with the law that "
            "drew it"
        )
    rows = prefix_rows(prefix)
    if embedding_columns(rows) not in (0, hidden):
        raise ValueError(
            f"{KEY} carries embeddings of {embedding_columns(rows)} numbers, and the model's have {hidden}: it was "
            "drawn by another model"
        )
    trace, tokens = decode_prefix(prefix), prompt[-prefix[LENGTH] :]
    _check_form(trace, rows)
    _check_kinds(trace)
    _check_candidates(trace, tokens, width=width, vocabulary=vocabulary)
    _check_values(trace, request, vocabulary)
    _check_embeddings(trace, request)
    resumed_phase(trace, tokens, request, end.begun(tokens[: trace.end_of_thinking]))
    return trace


def _check_form(trace: SoftTrace, rows: np.ndarray) -> None:
    """Flags that no field of the trace shows, a reason elsewhere than at the end of thinking."""
    foreign = torch.from_numpy((rows_of(trace) != rows).any(-1))
    _refuse(foreign, trace.ids, "has flags that no position has; use encode_prefix(trace) on a trace of the engine")


def _check_kinds(trace: SoftTrace) -> None:
    impossible = (
        (trace.soft & ~trace.drawn) | (trace.drawn & (trace.forced | trace.discrete)) | (trace.forced & trace.discrete)
    )
    end = trace.end_of_thinking
    if end is not None:
        # A draw that was not fed completed the marker; a token that did so was left to the sampler.
        by_itself = trace.end_reason == "marker"
        completed = trace.drawn[end] or (end > 0 and trace.discrete[end - 1])
        impossible[end] |= (by_itself and not completed) or (trace.drawn[end] and not by_itself)
    _refuse(
        impossible, trace.ids, "is of no kind that an engine leaves; use encode_prefix(trace) on a trace of the engine"
    )


def _check_candidates(trace: SoftTrace, tokens: list[int], *, width: int, vocabulary: int) -> None:
    used = trace.ids != NO_CANDIDATE
    if used[:, width:].any():
        raise ValueError(
            f"{KEY} has candidates beyond the engine's {width} slots; raise "
            "additional_config.softthink.max_candidates to those of the engine that drew it"
        )
    foreign = used & ((trace.ids < 0) | (trace.ids >= vocabulary))
    _refuse(foreign.any(-1), trace.ids, f"has token ids outside the vocabulary of {vocabulary}; it is another model's")
    scattered = (used[:, 1:] & ~used[:, :-1]).any(-1) | (used.any(-1) & ~trace.drawn)
    _refuse(scattered, trace.ids, "has candidates where none can be; use encode_prefix(trace) on a trace of the engine")
    stray = trace.drawn & (trace.ids != torch.tensor(tokens)[:, None]).all(-1)
    _refuse(stray, trace.ids, "has candidates of which none is the prompt's token; give the tokens that it shows")


def _check_values(trace: SoftTrace, request: SoftRequest, vocabulary: int) -> None:
    used = trace.ids != NO_CANDIDATE
    _refuse(~_within(trace.values, LARGEST_VALUE).all(-1), trace.values, "has values that are not finite, or too large")
    _refuse((~used & (trace.values != 0)).any(-1), trace.values, "has values beside its candidates")
    _refuse(~_within(trace.log_prob, LARGEST_VALUE), trace.log_prob, "has a log-prob that is not finite, or too large")
    entropy = trace.entropy.nan_to_num(0.0)
    possible = (entropy >= -ROUNDING) & (entropy <= math.log(vocabulary) + ROUNDING)
    _refuse(~possible, trace.entropy, f"has an entropy outside 0 to log {vocabulary}")

    law, drawn = LAWS[request.law], trace.drawn.nonzero()[:, 0]
    if slots := law.slots(request.parameters):
        _refuse(
            trace.drawn & (used.sum(-1) != slots), trace.ids, f"has not the {slots} candidates of a draw of its law"
        )
    action = Action(ids=trace.ids[drawn].long(), values=trace.values[drawn])
    weights = law.weights(action, law.columns(len(drawn), **request.parameters))
    mixture = (weights >= 0).all(-1) & ((weights.sum(-1) - 1).abs() <= ROUNDING)
    wrong = torch.zeros_like(trace.drawn).index_put((drawn,), ~mixture)
    _refuse(wrong, trace.values, f"has values that give no weights of the law {request.law!r}, which sum to 1")


def _check_embeddings(trace: SoftTrace, request: SoftRequest) -> None:
    if not LAWS[request.law].draws_embedding:
        if trace.fed is not None or trace.seed is not None or trace.scale.any():
            raise ValueError(
                f"{KEY} carries drawn embeddings, their seeds or scales, and the law {request.law!r} draws none"
            )
        return
    if request.rebuilds_embedding and (trace.seed is None or trace.fed is not None):
        raise ValueError(
            f"{KEY} has {'no seeds' if trace.seed is None else 'fed embeddings'}, and law.fed='seed' rebuilds what was "
            "fed from seeds alone; set the trace's seed and no embeddings: "
            "dataclasses.replace(trace, seed=torch.full((len(trace),), SEED), fed=None)"
        )
    if request.carries_embedding and (trace.fed is None or trace.seed is not None):
        raise ValueError(
            f"{KEY} has {'no fed embeddings' if trace.fed is None else 'seeds'}, and the law {request.law!r} with "
            "law.fed='embedding' feeds embeddings alone; give the trace that carries them"
        )
    scale = trace.scale
    odd = ~((scale >= 0) & (scale <= LARGEST_SCALE)) | ((scale != 0) & ~trace.drawn)
    _refuse(odd, scale, f"has a scale of its noise outside 0 to {LARGEST_SCALE:g}, or one where nothing was drawn")
    if trace.fed is not None:
        odd = ~_within(trace.fed, LARGEST_COORDINATE).all(-1) | (trace.fed.any(-1) & ~trace.drawn)
        _refuse(odd, trace.ids, f"was fed numbers beyond {LARGEST_COORDINATE:g}, or some where nothing was drawn")


def _within(values: Tensor, largest: float) -> Tensor:
    """Whether each value is a number of at most that size; not for nan."""
    return values.abs() <= largest


def _refuse(wrong: Tensor, values: Tensor, reason: str) -> None:
    if wrong.any():
        position = int(wrong.nonzero()[0])
        raise ValueError(f"{KEY}: position {position} ({shown(values[position].tolist())}) {reason}")
