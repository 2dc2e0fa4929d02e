"""What a soft prefix must be: the trace of exactly the tokens that the prompt ends with, as the engine gave it."""

from dataclasses import replace

import pytest
import torch

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.rollout.prefix import check_law, check_prefix, decode_prefix, encode_prefix, law_values
from verl_softthink.trace import SoftTrace

VOCABULARY, WIDTH, LENGTH, HIDDEN = 30, 3, 5, 4
GUMBEL = LawSettings(name="gumbel", tau=0.1)
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


def check(trace, prompt=(1, 2, *TOKENS), **changes):
    settings = {"law": "gumbel", "rebuilt": True, "width": WIDTH, "vocabulary": VOCABULARY} | changes
    check_prefix(decode_prefix(encode_prefix(trace, GUMBEL)), list(prompt), **settings)


def test_a_trace_of_the_prompts_last_tokens_passes():
    check(trace_of())
    check(trace_of(fed=torch.zeros(LENGTH, HIDDEN)), law="gaussian", rebuilt=False)
    check(trace_of(seed=torch.arange(LENGTH)), law="gaussian", rebuilt=True)


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"prompt": TOKENS}, "5 positions and the prompt 5 tokens"),
        ({}, {"prompt": [1, 2, *TOKENS[:-1]]}, "position 0 .* none is the prompt's token"),
        ({}, {"prompt": [1, 2, 10, 11, 13, 3, 7]}, "position 2 .* none is the prompt's token"),
        ({}, {"vocabulary": 20}, r"position 0 \(\[10, 20, -1\]\) has token ids outside the vocabulary of 20"),
        ({"ids": torch.full((LENGTH, WIDTH), -7)}, {}, "outside the vocabulary"),
        ({}, {"width": 1}, "beyond the engine's 1 slots; raise additional_config.softthink.max_candidates"),
        ({"values": torch.full((LENGTH, WIDTH), torch.inf)}, {}, "values that are not finite"),
        ({"drawn": torch.zeros(LENGTH, dtype=torch.bool)}, {}, "is of two kinds at once"),
        ({"forced": torch.ones(LENGTH, dtype=torch.bool)}, {}, "is of two kinds at once"),
        ({"fed": torch.zeros(LENGTH, HIDDEN)}, {}, "the law 'gumbel' draws none"),
        (
            {"fed": torch.full((LENGTH, HIDDEN), torch.nan)},
            {"law": "gaussian", "rebuilt": False},
            "position 0 .*fed numbers that are not finite",
        ),
        ({}, {"law": "gaussian"}, "no seeds, from which law.fed='seed' rebuilds"),
        ({}, {"law": "gaussian", "rebuilt": False}, "no fed embeddings, which the law 'gaussian' feeds"),
    ],
)
def test_another_one_is_refused_by_name(changes, settings, message):
    with pytest.raises(ValueError, match=message):
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
        decode_prefix(encode_prefix(trace_of(), GUMBEL) | changes)


def test_nothing_continues_an_empty_prefix_or_a_stopped_answer():
    with pytest.raises(ValueError, match="is empty"):
        encode_prefix(trace_of().truncated(0), GUMBEL)
    with pytest.raises(ValueError, match="ends with the stop token of an answer over its budget"):
        encode_prefix(trace_of(cut=True), GUMBEL)


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
    prefix = encode_prefix(trace_of(), GUMBEL)
    check_law(prefix, law_values(GUMBEL.name, GUMBEL.parameters))
    asked = LawSettings(**other)
    with pytest.raises(ValueError, match=f"was drawn by .*{named}.*continue it with the law that drew it"):
        check_law(prefix, law_values(asked.name, asked.parameters))
