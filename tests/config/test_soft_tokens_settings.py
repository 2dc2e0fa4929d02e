"""The recipe of Soft Tokens passes the start-up checks in its three modes, and what it cannot be is refused."""

import pytest
from support.composing import composed

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config

POCKET = [
    f"actor_rollout_ref.model.path={checkpoint_path()}",
    *("data.max_response_length=64", "softthink.phase.budget=56", 'softthink.phase.end_of_thinking="</think>"'),
    *("softthink.phase.match=tokens", "softthink.phase.answer_prefix=null", "softthink.phase.lead_in=null"),
]


def configuration(recipes, *overrides):
    return composed([f"+softthink={recipes}", *POCKET], *overrides)


@pytest.mark.parametrize(
    ("recipes", "law", "temperature"),
    [
        ("soft_tokens", "gaussian", 0.5),
        ("[soft_tokens,soft_tokens_fuzzy]", "gaussian", 1e-4),
        ("[soft_tokens,soft_tokens_candidates]", "gaussian", 1.0),
        ("[soft_tokens,soft_tokens_hard]", "discrete", 1.0),
    ],
)
def test_modes_pass(recipes, law, temperature):
    settings = check_config(configuration(recipes))
    assert (settings.law.name, settings.filter.temperature) == (law, temperature)
    assert settings.law.normaliser == ("candidates" if "candidates" in recipes else "vocabulary")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("actor_rollout_ref.actor.ppo_epochs=2", r"ppo_epochs=1 \(is 2\)"),
        ("actor_rollout_ref.actor.ppo_mini_batch_size=1", r"ppo_mini_batch_size=2 \(is 1\)"),
        ("actor_rollout_ref.actor.loss_agg_mode=token-mean", "set it to 'seq-mean-token-sum'"),
        ("softthink.law.gamma=0", "softthink.law.gamma=0 feeds the mean embedding"),
        ("+softthink.entropy_profile.positions=[-1]", r"softthink.entropy_profile.positions.0=-1"),
    ],
)
def test_what_it_cannot_be_is_refused(override, message):
    with pytest.raises(ValueError, match=message):
        check_config(configuration("soft_tokens", override))
