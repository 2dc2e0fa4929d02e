"""Which prompts and responses get samples: expansion, filters and the size of the batch."""

import math

import pytest
import torch

from verl_softthink.methods.attnrl.batch_size import next_batch_size
from verl_softthink.methods.attnrl.expansion import branched_count, responses_to_branch
from verl_softthink.methods.attnrl.selection import AttentionFilter


@pytest.mark.parametrize(("right", "count"), list(enumerate([6, 6, 5, 4, 4, 3, 3])))
def test_harder_prompts_are_branched_more(right, count):
    assert branched_count(right / 6, 6) == count
    chosen = responses_to_branch([index < right for index in range(6)], torch.Generator().manual_seed(0))
    assert len(chosen) == len(set(chosen)) == count and chosen == sorted(chosen)


@pytest.mark.parametrize("seed", range(10))
def test_the_rarer_kind_comes_first(seed):
    generator = torch.Generator().manual_seed(seed)
    hard = [False, True, False, False, True, False]
    assert {1, 4} <= set(responses_to_branch(hard, generator))
    easy = [True, False, True, True, True, False]
    assert {1, 5} <= set(responses_to_branch(easy, generator))


def test_the_rest_is_random():
    generator = torch.Generator().manual_seed(0)
    seen = {tuple(responses_to_branch([True] * 6, generator)) for _ in range(200)}
    assert len(seen) == math.comb(6, 3)


def test_no_responses_and_no_share():
    assert responses_to_branch([], torch.Generator()) == []
    with pytest.raises(ValueError, match="accuracy=1.5 is not a share"):
        branched_count(1.5, 6)


def test_all_correct_prompts_must_beat_the_running_mean():
    judge = AttentionFilter()
    assert judge.keep([True, False], 0.0) and judge.keep([False, False], 9.0)
    assert judge.count == 0
    assert not judge.keep([True, True], 0.4)  # nothing to compare with
    assert judge.keep([True], 0.6)  # above 0.4
    assert judge.mean == pytest.approx(0.5)
    assert not judge.keep([True], 0.5)  # equal is not above
    assert not judge.keep([True], 0.2)
    assert judge.mean == pytest.approx((0.4 + 0.6 + 0.5 + 0.2) / 4)
    resumed = AttentionFilter.from_state(judge.state_dict())
    assert resumed == judge and resumed.keep([True], 0.43)
    with pytest.raises(ValueError, match="correct is empty"):
        judge.keep([], 1.0)


@pytest.mark.parametrize(
    ("last", "wanted", "trained", "size"),
    [
        (64, 1000, 1000, 64),
        (64, 1000, 500, 71),  # target 128: 12.8 + 57.6 = 70.4
        (64, 1000, 2000, 61),  # target 32: 3.2 + 57.6 = 60.8
        (64, 100, 99, 64),  # target 64
        (1, 1, 1000, 1),
        (64, 1000, 0, 64),
        (10, 100, 100, 10),
    ],
)
def test_the_batch_grows_and_shrinks_slowly(last, wanted, trained, size):
    assert next_batch_size(last, wanted=wanted, trained=trained) == size


def test_sizes_out_of_range():
    with pytest.raises(ValueError, match="last=0, wanted=5, trained=1"):
        next_batch_size(0, wanted=5, trained=1)
