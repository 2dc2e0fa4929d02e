"""Sizes of batches and mini-batches, on verl's own configuration."""

import pytest
from support.composing import composed

from verl_softthink.methods.attnrl.batching import Batching, next_batch_size
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.training.mini_batches import mini_batches_of


def _config(*overrides):
    base = ["+softthink=attnrl", "data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=4"]
    sizes = [("actor.ppo", 4), ("rollout.log_prob", 6), ("ref.log_prob", 2)]
    return composed(base, *(f"actor_rollout_ref.{name}_micro_batch_size_per_gpu={n}" for name, n in sizes), *overrides)


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


@pytest.mark.parametrize(("last", "wanted", "trained"), [(0, 5, 1), (5, 0, 1), (5, 5, -1)])
def test_sizes_out_of_range(last, wanted, trained):
    with pytest.raises(ValueError, match=f"last={last}, wanted={wanted}, trained={trained}: sizes are at least 1"):
        next_batch_size(last, wanted=wanted, trained=trained)


def test_rows_divide_into_updates_ranks_and_micro_batches():
    fixed = Batching(_config(), AttnrlSettings())
    assert (fixed.prompts, fixed.updates) == (8, 2)
    assert fixed.rows_multiple(3) == 2 * 3 * 12
    by_length = Batching(_config("actor_rollout_ref.actor.use_dynamic_bsz=true"), AttnrlSettings())
    # The other passes follow the actor's switch.
    assert by_length.rows_multiple(3) == 2 * 3


@pytest.mark.parametrize(
    ("settings", "trained", "prompts"),
    [
        # target = 8 * 48 // 24 = 16, ceil(0.1 * 16 + 0.9 * 8) = 9.
        ({}, 24, 9),
        ({"wanted_responses": 24}, 24, 8),
        ({"largest_batch": 8}, 24, 8),
        ({}, 0, 8),
        ({"adaptive_batch": False}, 24, 8),
    ],
)
def test_the_number_of_prompts_follows_what_was_trained(settings, trained, prompts):
    batching = Batching(_config(), AttnrlSettings(**settings))
    batching.trained(trained)
    assert batching.prompts == prompts


def test_verl_reads_mini_batches_in_rows_within_the_block_alone():
    config = _config()
    with pytest.raises(KeyError), mini_batches_of(config, 30):
        actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
        assert actor.ppo_mini_batch_size * rollout.n == 30
        raise KeyError
    assert (actor.ppo_mini_batch_size, rollout.n) == (4, 6)
