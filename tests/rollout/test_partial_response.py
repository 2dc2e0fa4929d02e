"""Attempts of one response, of every law: what the next one carries is what a single attempt would have left."""

import random
from dataclasses import replace

import pytest
import torch
from support.soft_prefixes import CASES, LENGTH, drawn

from verl_softthink.config.settings import LawSettings
from verl_softthink.rollout.fields import VERSION, from_row, to_extra_fields, to_fields
from verl_softthink.rollout.partial_response import PartialResponse
from verl_softthink.rollout.prefix import decode_prefix, encode_prefix, prefix_rows
from verl_softthink.trace import unpack_rows

SEED = 7


def sampling_params(settings, prefix, **other):
    return {"temperature": 1.0, "extra_args": {"softthink": settings | {"prefix": prefix}}, **other}


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("begins_with", [0, 3])
def test_the_next_attempt_carries_all_that_was_drawn(case, begins_with):
    """However the rows came, and behind a prefix that the request began with."""
    sent = drawn(case)
    whole, law = decode_prefix(sent.settings["prefix"]), LawSettings(**CASES[case][0])
    rows = prefix_rows(sent.settings["prefix"])
    own = encode_prefix(whole.truncated(begins_with), law) if begins_with else None
    rng = random.Random(case)
    for _ in range(5):
        cuts = sorted(rng.sample(range(begins_with + 1, LENGTH), 3))
        asked = sampling_params(sent.settings, own)
        partial = PartialResponse(asked)
        assert partial.continued(asked) == asked
        for start, end in zip([begins_with, *cuts], cuts, strict=False):
            partial.append(rows[start:end], version=start)
            carried = partial.continued(asked)["extra_args"]["softthink"]
            assert carried["prefix"] == encode_prefix(whole.truncated(end), law)
            assert carried["seed"] == sent.settings["seed"] and partial.continued(asked)["temperature"] == 1.0
        assert (partial.rows == rows[begins_with : cuts[-1]]).all()
        assert partial.versions == [
            start for start, end in zip([begins_with, *cuts], cuts, strict=False) for _ in range(start, end)
        ]
        assert asked == sampling_params(sent.settings, own)


def test_sampled_tokens_of_every_attempt_have_a_seed_of_their_own():
    sent = drawn(0)
    asked = sampling_params(sent.settings, None, seed=SEED)
    partial, rows = PartialResponse(asked), prefix_rows(sent.settings["prefix"])
    seeds = [partial.continued(asked)["seed"]]
    for position in range(3):
        partial.append(rows[position : position + 1], version=0)
        seeds.append(partial.continued(asked)["seed"])
        assert partial.continued(asked)["seed"] == seeds[-1]
    assert seeds[0] == SEED and len(set(seeds)) == 4 and all(0 <= seed < 2**63 for seed in seeds)


def test_a_request_without_a_seed_is_refused():
    with pytest.raises(ValueError, match="softthink.seed=None"):
        PartialResponse({"extra_args": {"softthink": {"law": {"name": "gumbel"}}}})


def test_versions_travel_beside_the_trace():
    sent, law = drawn(1), LawSettings(**CASES[1][0])
    trace = unpack_rows(prefix_rows(sent.settings["prefix"]))
    assert VERSION not in to_fields(trace, law)
    trace = replace(trace, version=torch.arange(LENGTH))
    fields = to_fields(trace, law)
    row = fields | {"rollout_log_probs": trace.log_prob, "extra_fields": to_extra_fields(trace)}
    assert torch.equal(from_row(row).truncated(5).version, torch.arange(5))
