"""Sizes of batches and mini-batches on verl's own configuration."""

import pytest
from support.composing import composed

from verl_softthink.methods.attnrl.batching import Batching
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.training.mini_batches import mini_batches_of


def _config(*overrides):
    base = ["+softthink=attnrl", "data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=4"]
    sizes = [("actor.ppo", 4), ("rollout.log_prob", 6), ("ref.log_prob", 2)]
    return composed(base, *(f"actor_rollout_ref.{name}_micro_batch_size_per_gpu={n}" for name, n in sizes), *overrides)


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
