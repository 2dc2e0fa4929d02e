"""What a soft prefix must be: the trace of exactly the tokens that the prompt ends with, as the engine gave it."""

from dataclasses import replace

import pytest
import torch

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.rollout.prefix import decode_prefix, encode_prefix
from verl_softthink.rollout.prefix_check import LARGEST_COORDINATE, LARGEST_SCALE, checked_prefix
from verl_softthink.rollout.request import resolve
from verl_softthink.thinking import EndOfThinking
from verl_softthink.trace import SoftTrace

VOCABULARY, WIDTH, LENGTH, HIDDEN = 30, 3, 5, 4
GUMBEL = {"name": "gumbel", "tau": 0.1}
GAUSSIAN = {"name": "gaussian"}
REBUILT = {"name": "gaussian", "normalise_over": "candidates", "fed": "seed"}
TOKENS = [10, 11, 12, 3, 7]


def trace_of(**changes) -> SoftTrace:
    """Three draws, the last of which ended thinking; a forced token; an answer."""
    drawn = torch.tensor([True, True, True, False, False])
    ids = torch.full((LENGTH, WIDTH), NO_CANDIDATE, dtype=torch.int32)
    ids[:3, 0], ids[0, 1] = torch.tensor(TOKENS[:3], dtype=torch.int32), 20
    made = SoftTrace(
        soft=torch.tensor([True, True, False, False, False]),
        drawn=drawn,
        forced=torch.tensor([False, False, False, True, False]),
        ids=ids,
        values=torch.arange(LENGTH * WIDTH).view(LENGTH, WIDTH).float().where(ids >= 0, 0.0),
        log_prob=torch.zeros(LENGTH),
        entropy=torch.full((LENGTH,), torch.nan),
        end_reason="marker",
        discrete=torch.zeros(LENGTH, dtype=torch.bool),
        scale=torch.zeros(LENGTH),
    )
    return replace(made, **changes)


def check(trace, prompt=(1, 2, *TOKENS), law=GUMBEL, drawn_by=None, width=WIDTH, vocabulary=VOCABULARY):
    prefix = encode_prefix(trace, LawSettings(**(drawn_by or law)))
    request = resolve(
        {
            "law": law,
            "filter": {"max_topk": 1},
            "phase": {"end_of_thinking": [12], "answer_prefix": [3]},
            "prefix": prefix,
        },
        max_tokens=20,
        width=width,
        carries_embeddings=True,
        tokenize=None,
    )
    return checked_prefix(
        request, list(prompt), EndOfThinking(None, request.marker), width=width, vocabulary=vocabulary, hidden=HIDDEN
    )


def test_a_trace_of_the_prompts_last_tokens_passes():
    assert len(check(trace_of())) == LENGTH
    check(trace_of(fed=torch.zeros(LENGTH, HIDDEN)), law=GAUSSIAN)
    check(trace_of(seed=torch.arange(LENGTH)), law=REBUILT)


def filled(shape, value, where=slice(0, 3)):
    made = torch.zeros(shape)
    made[where] = value
    return made


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"prompt": TOKENS}, "5 positions and the prompt 5 tokens"),
        ({}, {"prompt": [1, 2, *TOKENS[:-1]]}, "position 0 .* none is the prompt's token"),
        ({}, {"prompt": [1, 2, 10, 11, 13, 3, 7]}, "position 2 .* none is the prompt's token"),
        (
            {},
            {"prompt": [1, 2, 10, 11, 12, 4, 7]},
            r"goes on with \[4\], where softthink.phase.answer_prefix forces \[3\]",
        ),
        ({}, {"vocabulary": 20}, r"position 0 \(\[10, 20, -1\]\) has token ids outside the vocabulary of 20"),
        ({"ids": torch.full((LENGTH, WIDTH), -7)}, {}, "outside the vocabulary"),
        ({"ids": torch.tensor([[-1, 10, -1]] * LENGTH)}, {}, "position 0 .* has candidates where none can be"),
        ({}, {"width": 1}, "beyond the engine's 1 slots; raise additional_config.softthink.max_candidates"),
        ({"values": filled((LENGTH, WIDTH), torch.inf)}, {}, "values that are not finite"),
        ({"values": filled((LENGTH, WIDTH), 3e38)}, {}, "or too large"),
        ({"values": filled((LENGTH, WIDTH), 1.0)}, {}, "position 0 .* has values beside its candidates"),
        ({"log_prob": filled(LENGTH, torch.nan)}, {}, r"position 0 \(nan\) has a log-prob that is not finite"),
        ({"entropy": filled(LENGTH, 3.5)}, {}, r"position 0 \(3.5\) has an entropy outside 0 to log 30"),
        ({"drawn": torch.zeros(LENGTH, dtype=torch.bool)}, {}, "is of no kind that an engine leaves"),
        ({"forced": torch.ones(LENGTH, dtype=torch.bool)}, {}, "is of no kind that an engine leaves"),
        ({"end_reason": "budget"}, {}, "position 2 .* is of no kind that an engine leaves"),
        ({}, {"law": {"name": "multiplex"}}, "position 0 .* has not the 3 candidates of a draw"),
        ({}, {"law": {"name": "discrete"}}, "values that give no weights of the law 'discrete', which sum to 1"),
        ({"scale": torch.ones(LENGTH)}, {}, "the law 'gumbel' draws none"),
        ({"fed": torch.zeros(LENGTH, HIDDEN)}, {}, "the law 'gumbel' draws none"),
        ({"fed": torch.zeros(LENGTH, HIDDEN + 1)}, {"law": GAUSSIAN}, "5 numbers, and the model's have 4"),
        ({"fed": filled((LENGTH, HIDDEN), torch.nan)}, {"law": GAUSSIAN}, "position 0 .* was fed numbers beyond 10000"),
        ({"fed": filled((LENGTH, HIDDEN), 2 * LARGEST_COORDINATE)}, {"law": GAUSSIAN}, "was fed numbers beyond 10000"),
        ({"fed": torch.ones(LENGTH, HIDDEN)}, {"law": GAUSSIAN}, "position 3 .* some where nothing was drawn"),
        (
            {"seed": torch.arange(LENGTH), "scale": filled(LENGTH, 2 * LARGEST_SCALE)},
            {"law": REBUILT},
            r"position 0 \(2000.0\) has a scale of its noise outside 0 to 1000",
        ),
        (
            {"seed": torch.arange(LENGTH), "scale": torch.ones(LENGTH)},
            {"law": REBUILT},
            "position 3 .* nothing was drawn",
        ),
        ({}, {"law": REBUILT}, "no seeds, and law.fed='seed' rebuilds"),
        (
            {"fed": torch.zeros(LENGTH, HIDDEN), "seed": torch.arange(LENGTH)},
            {"law": REBUILT},
            "has fed embeddings, and",
        ),
        ({}, {"law": GAUSSIAN}, "no fed embeddings, and the law 'gaussian' with law.fed='embedding'"),
    ],
)
def test_another_one_is_refused_by_name(changes, settings, message):
    with pytest.raises(ValueError, match=f"softthink.prefix.*{message}"):
        check(trace_of(**changes), **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": b""}, "0 bytes, which are not 5 rows"),
        ({"rows": b"1234567"}, "7 bytes, which are not 5 rows"),
        ({"rows": b"\0\0\7\0" * 25}, "25 numbers, which are not 5 rows"),
        ({"seeds": b"12345678"}, "seeds has 8 bytes for 5 positions"),
    ],
)
def test_what_is_not_encoded_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        decode_prefix(encode_prefix(trace_of(), LawSettings(**GUMBEL)) | changes)


def test_nothing_continues_an_empty_prefix_or_a_stopped_answer():
    with pytest.raises(ValueError, match="is empty"):
        encode_prefix(trace_of().truncated(0), LawSettings(**GUMBEL))
    with pytest.raises(ValueError, match="ends with the stop token of an answer over its budget"):
        encode_prefix(trace_of(cut=True), LawSettings(**GUMBEL))


@pytest.mark.parametrize("drawn", [{"seed": torch.arange(LENGTH)}, {"fed": torch.zeros(LENGTH, HIDDEN)}])
def test_noise_whose_scale_was_lost_is_not_taken_for_none(drawn):
    with pytest.raises(ValueError, match="without the scales of their noise, which a dump does not keep"):
        encode_prefix(trace_of(scale=None, **drawn), LawSettings(name="gaussian"))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"name": "gumbel", "tau": 0.2}, "'tau': 0.1.*'tau': 0.2"),
        ({"name": "gumbel", "tau": 0.1, "noise_scale": 2.0}, "'noise_scale': 1.0.*'noise_scale': 2.0"),
        ({"name": "dirichlet"}, "'law': 'gumbel'.*'law': 'dirichlet', 'concentration': 1"),
        ({"name": "concrete", "tau": 0.1}, "'law': 'gumbel'.*'law': 'concrete'"),
    ],
)
def test_the_law_that_drew_a_prefix_draws_its_continuation(other, named):
    with pytest.raises(ValueError, match=f"was drawn by .*{named}.*continue it with the law that drew it"):
        check(trace_of(), law=other, drawn_by=GUMBEL)
