"""Hashes of cache blocks, by vLLM's own hasher on its own requests: equal where the same was fed, and nowhere else."""

from dataclasses import replace

import pytest
import torch

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.rollout.prefix import encode_prefix, prefix_rows
from verl_softthink.rollout.request import resolve
from verl_softthink.trace import SoftTrace

vllm = pytest.importorskip("vllm")

BLOCK, PROMPT, WIDTH = 4, [1, 2, 3, 4, 5, 6], 3
TOKENS = [10, 11, 12, 13, 14, 15, 16]
REBUILT = {"name": "gaussian", "normalise_over": "candidates", "fed": "seed"}


def trace_of(soft=7, law="gumbel", seed=5) -> SoftTrace:
    """Seven positions, the first ``soft`` of them mixtures."""
    places = torch.arange(7)
    fed = places < soft
    ids = torch.stack([torch.tensor(TOKENS), places + 20, torch.full_like(places, NO_CANDIDATE)], dim=-1).int()
    return SoftTrace(
        soft=fed,
        drawn=fed,
        forced=torch.zeros(7, dtype=torch.bool),
        ids=ids.where(fed[:, None], NO_CANDIDATE),
        values=(ids / 10).where(fed[:, None], 0.0),
        log_prob=-places / 3,
        entropy=places / 5,
        end_reason="none" if soft == 7 else "marker",
        discrete=torch.zeros(7, dtype=torch.bool),
        scale=torch.zeros(7),
        seed=torch.full((7,), seed) if law is REBUILT else None,
    )


@pytest.fixture(scope="module")
def hashes():
    """Block hashes of a continuation of ``trace``, of a request that draws it, or of an ordinary one over its text."""
    from vllm import SamplingParams
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request

    from verl_softthink.rollout.vllm.plugin import register
    from verl_softthink.rollout.vllm.prefix_cache import remember_fed

    register()
    init_none_hash(sha256)
    hasher = get_request_block_hasher(BLOCK, sha256)

    def make(trace=None, *, drawn=False, law=None, seed=5, tokens=TOKENS):
        if trace is None:
            return Request("ordinary", PROMPT + tokens, SamplingParams(), None, block_hasher=hasher).block_hashes
        values = {"law": law or {"name": "gumbel"}, "seed": seed, "phase": {"end_of_thinking": [3]}}
        encoded = encode_prefix(trace, LawSettings(**values["law"]))
        if not drawn:
            values["prefix"] = encoded
        soft = resolve(values, max_tokens=50, width=8, tokenize=None)
        params = SamplingParams(extra_args={"softthink": soft.as_dict()})
        prompt = PROMPT + ([] if drawn else tokens)
        request = Request(f"soft{seed}", prompt, params, None, block_hasher=hasher)
        for token, row in zip(tokens, prefix_rows(encoded), strict=True) if drawn else ():
            remember_fed(request, row[None])
            request.append_output_token_ids(token)
        return request.block_hashes

    return make


def test_a_continuation_finds_the_blocks_of_the_first_response_and_of_siblings(hashes):
    first = hashes(trace_of(), drawn=True)
    assert len(first) == 3
    assert hashes(trace_of(), seed=8) == hashes(trace_of(), seed=9) == first


def test_an_ordinary_request_shares_the_prompt_alone(hashes):
    soft, ordinary = hashes(trace_of()), hashes()
    assert [one == two for one, two in zip(soft, ordinary, strict=True)] == [True, False, False]


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        (lambda trace: trace.values.index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor(9.0)), 1),
        (lambda trace: trace.values.index_put((torch.tensor([4]), torch.tensor([1])), torch.tensor(9.0)), 2),
        (lambda trace: trace.values.index_put((torch.tensor([6]), torch.tensor([1])), torch.tensor(9.0)), 3),
    ],
)
def test_other_weights_part_from_their_block_on(hashes, change, shared):
    """Blocks end at responses' positions 1 and 5."""
    one, two = hashes(trace_of()), hashes(replace(trace_of(), values=change(trace_of())))
    assert [a == b for a, b in zip(one, two, strict=True)] == [True] * shared + [False] * (3 - shared)


def test_what_was_not_fed_is_not_in_the_key(hashes):
    changed = replace(trace_of(), log_prob=torch.ones(7), entropy=torch.full((7,), torch.nan))
    assert hashes(changed) == hashes(trace_of())


def test_an_answer_behind_soft_positions_is_told_by_them(hashes):
    one, ordinary = hashes(trace_of(soft=1)), hashes()
    assert [a == b for a, b in zip(one, ordinary, strict=True)] == [True, False, False]
    assert hashes(trace_of(soft=0)) == ordinary


def test_settings_and_seeds_that_make_the_mixture_are_in_the_key(hashes):
    assert hashes(trace_of(), law={"name": "gumbel", "tau": 0.3})[1:] != hashes(trace_of())[1:]
    assert hashes(trace_of(), law={"name": "concrete"})[1] != hashes(trace_of())[1]
    rebuilt = [hashes(trace_of(law=REBUILT, seed=seed), law=REBUILT) for seed in (5, 6)]
    assert rebuilt[0][0] == rebuilt[1][0] and rebuilt[0][1] != rebuilt[1][1]
    assert hashes(trace_of(law=REBUILT, seed=5), law=REBUILT, drawn=True, seed=5) == rebuilt[0]
