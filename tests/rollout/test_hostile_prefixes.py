"""Prefixes that were corrupted, cut, or made by another model: a sentence, or one that can be fed."""

import random

import numpy as np
import pytest
import torch
from support.soft_prefixes import CASES, HIDDEN, TABLE, VOCABULARY, WIDTH, Sent, corrupted, drawn, resolved, state_of

from verl_softthink.laws import LAWS
from verl_softthink.rollout.embedding import TableEmbedding, mixture_embeddings
from verl_softthink.rollout.prefix import load_prefix
from verl_softthink.rollout.prefix_check import checked_prefix
from verl_softthink.thinking import EndOfThinking

SEED, COUNT = 19, 3000
#: The sentence of a whole request, all of its problems together.
LONGEST_MESSAGE = 5000


@pytest.fixture(scope="module")
def valid():
    return [drawn(case) for case in range(len(CASES))]


def checked(sent: Sent):
    """What the frontend does with a request's prefix."""
    request = resolved(sent.settings)
    checked_prefix(
        request, sent.prompt, EndOfThinking(None, request.marker), width=WIDTH, vocabulary=VOCABULARY, hidden=HIDDEN
    )
    return request


def wrong_with(sent: Sent) -> str | None:
    """What is wrong with an accepted prefix, read from its bytes by the layout in ``trace.py`` alone."""
    prefix, law = sent.settings["prefix"], sent.settings["law"]
    rows = np.frombuffer(prefix["rows"], dtype="<i4").reshape(prefix["length"], -1)
    slots = rows[0, 0] >> 16
    flags, floats = rows[:, 0] & 0xFFFF, rows.view("<f4")
    ids, values, fed = rows[:, 4 : 4 + slots], floats[:, 4 + slots : 4 + 2 * slots], floats[:, 4 + 2 * slots :]
    tokens, drawn_ = np.array(sent.prompt[-len(rows) :]), flags & 1 > 0
    used = ids != -1
    kinds = {0b1: "completes", 0b11: "soft", 0b100: "forced", 1 << 8: "discrete", 0: "token"}
    named = [kinds.get(flag & ~(0b1111 << 3)) for flag in flags]
    reasons = (flags >> 3) & 0b1111
    thinking = [name in ("soft", "discrete") for name in named]
    end = thinking.index(False) if not all(thinking) else None
    problems = {
        "slots": not (rows[:, 0] >> 16 == slots).all() or rows.shape[1] != 4 + 2 * slots + fed.shape[1],
        "width": fed.shape[1] != (HIDDEN if law["name"] == "gaussian" and "fed" not in law else 0),
        "seeds": (prefix.get("seeds") is None) == ("fed" in law),
        "length": len(rows) >= len(sent.prompt),
        "kinds": None in named or any(thinking[end:] if end is not None else ()),
        "reason": reasons.nonzero()[0].tolist() != ([] if end is None else [end]),
        "ids": (used & ((ids < 0) | (ids >= VOCABULARY))).any() or (used.any(-1) != drawn_).any(),
        "shown": (drawn_ & ~(ids == tokens[:, None]).any(-1)).any(),
        "values": not (np.abs(values) <= 1e18).all() or (values[~used] != 0).any(),
        "log-prob": not (np.abs(floats[:, 1]) <= 1e18).all(),
        "entropy": (floats[:, 2] < -0.01).any() or (floats[:, 2] > np.log(VOCABULARY) + 0.01).any(),
        "scale": not ((floats[:, 3] >= 0) & (floats[:, 3] <= 1e3)).all() or floats[~drawn_, 3].any(),
        "fed": not (np.abs(fed) <= 1e4).all() or fed[~drawn_].any(),
    }
    columns = LAWS[law["name"]].columns(1)
    if law["name"] == "multiplex":
        problems["draws"] = (used.sum(-1)[drawn_] != int(columns["draws"])).any()
    return next((name for name, wrong in problems.items() if wrong), None)


def fed_to_the_model(request, sent: Sent) -> torch.Tensor:
    """[P, H] what a worker feeds at the prefix's positions."""
    state = state_of(0)
    state.add("r", request)
    load_prefix(state, state.slot("r"), request, sent.prompt)
    index = torch.arange(request.soft_prefix_length)
    mixed, soft = mixture_embeddings(state, torch.zeros_like(index), index, TableEmbedding(TABLE))
    return mixed[soft]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_a_law_has_drawn_is_taken(valid, case):
    request = checked(valid[case])
    assert wrong_with(valid[case]) is None
    assert fed_to_the_model(request, valid[case]).isfinite().all()


def test_corrupted_prefixes_are_refused_by_a_sentence_or_can_be_fed(valid):
    """Three thousand of them, of every law and every kind of damage."""
    random_ = random.Random(SEED)
    refused, messages = 0, set()
    for number in range(COUNT):
        sent = corrupted(valid, random_)
        try:
            request = checked(sent)
        except ValueError as error:
            message = str(error)
            assert message.startswith("softthink.prefix"), message[:300]
            assert len(message) <= LONGEST_MESSAGE
            message.encode()
            refused += 1
            messages.add(message[:40])
            continue
        if sent.settings["prefix"] is None:
            continue
        assert wrong_with(sent) is None, f"prefix {number}: {wrong_with(sent)}"
        assert (fed_to_the_model(request, sent).abs() <= 1e5).all()
    # By chance a change may not matter: the lowest bits of a value, a log-prob, a seed.
    assert refused > 0.7 * COUNT
    assert len(messages) > 20
