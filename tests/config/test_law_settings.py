"""Settings of single laws, and of phases: contradictions are refused by name, before any worker starts."""

import pytest
from config.test_check import configuration

from verl_softthink.config.base import parse
from verl_softthink.config.settings import LawSettings, RequestSettings
from verl_softthink.laws import LAWS
from verl_softthink.training.check import check_config

SEED = ["softthink.law.name=gaussian", "softthink.law.normalise_over=candidates", "softthink.law.fed=seed"]
ON_POLICY = [
    "actor_rollout_ref.actor.use_kl_loss=false",
    "data.train_batch_size=8",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
]


@pytest.mark.parametrize(
    "overrides",
    [
        ["softthink.law.name=gaussian", "softthink.law.gamma=0.33", "softthink.filter.temperature=1e-4"],
        ["softthink.law.name=multiplex", "softthink.law.draws=4", "softthink.law.weighting=probability"],
        ["softthink.law.name=dirichlet", "softthink.law.concentration=2"],
        [*SEED, *ON_POLICY],
        # Weights are rebuilt from the trace alone, whatever table scores them.
        [*SEED, "softthink.law.covariance=candidates", "actor_rollout_ref.actor.ppo_epochs=2"],
        ["softthink.phase.answer_prefix=[5]", "softthink.phase.match=text"],
        ["softthink.likelihood.positions_at_once=512"],
    ],
)
def test_what_fits_together_passes(overrides):
    check_config(configuration(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["softthink.law.draws=3"], "softthink.law.draws=3: it is a parameter of multiplex, which the law 'gumbel'"),
        (
            ["softthink.law.name=multiplex", "softthink.law.gamma=1"],
            "law.gamma=1: it is a parameter of gaussian",
        ),
        (["softthink.law.name=gaussian", "softthink.law.gamma=0"], "softthink.law.gamma=0 feeds the mean embedding"),
        (["softthink.law.name=gaussian", "softthink.law.gamma=-1"], "softthink.law.gamma=-1"),
        (["softthink.law.name=gaussian", "softthink.law.fed=seed"], "law.fed='seed' rebuilds the fed embedding"),
        (
            ["softthink.law.name=gaussian", "softthink.law.covariance=candidates"],
            "set law.fed=seed and law.normalise_over=candidates, or law.covariance=isotropic",
        ),
        (["softthink.law.name=dirichlet", "softthink.law.concentration=0.001"], "softthink.law.concentration=0.001"),
        (["softthink.law.name=dirichlet", "softthink.law.normalise_over=vocabulary"], "remove law.normalise_over"),
        (["softthink.law.name=multiplex", "softthink.law.normalise_over=candidates"], "remove law.normalise_over"),
        (["softthink.law.name=mixture_of_inputs"], "has no likelihood"),
        ([*SEED, *ON_POLICY, "actor_rollout_ref.actor.use_kl_loss=true"], "the reference model has another"),
        ([*SEED, *ON_POLICY, "actor_rollout_ref.actor.ppo_epochs=2"], "after the first of several updates"),
        ([*SEED, *ON_POLICY, "actor_rollout_ref.actor.ppo_mini_batch_size=4"], "after the first of several updates"),
        (
            ["softthink.law.name=gaussian", "softthink.likelihood.positions_at_once=512"],
            "positions_at_once=512 with softthink.law.name='gaussian'",
        ),
        (["softthink.likelihood.positions_at_once=0"], "softthink.likelihood.positions_at_once=0"),
        (["softthink.phase.lead_in='❄'"], "softthink.phase.lead_in='❄'.*cannot produce"),
        (["softthink.phase.answer_prefix=[5000]"], "softthink.phase.answer_prefix=.*outside the tokenizer"),
        (["softthink.phase.match=text", "softthink.phase.end_of_thinking=[3]"], "phase.match='text' looks for a text"),
        (["softthink.phase.switches=-1"], "softthink.phase.switches=-1"),
        (["softthink.phase.answer_budget=0"], "softthink.phase.answer_budget=0"),
    ],
)
def test_contradictions_are_refused_by_name(overrides, message):
    with pytest.raises(ValueError, match=message):
        check_config(configuration(*overrides))


@pytest.mark.parametrize("name", sorted(LAWS))
def test_every_law_makes_a_request_and_reads_back(name):
    request = RequestSettings(law=LawSettings(name=name), seed=1)
    again = parse(RequestSettings, request.model_dump(), "softthink")
    assert again == request
    assert again.law.parameters == {parameter.name: parameter.default for parameter in LAWS[name].parameters}
