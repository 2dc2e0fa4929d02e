"""Which trainer a recipe runs in, by verl's name of the mode, and what each method can do in it."""

import pytest
from support.composing import composed

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training import modes
from verl_softthink.training.check import check_config

MODEL = [f"actor_rollout_ref.model.path={checkpoint_path()}", "data.max_response_length=64"]
ASYNC = "trainer.v1.trainer_mode=colocate_async"


#: The pocket reasoner answers with a digit: nothing begins an answer, and nothing follows one.
POCKET = (
    *("softthink.phase.end_of_thinking='</think>'", "softthink.phase.budget=32"),
    *(f"softthink.phase.{key}=null" for key in ("answer_prefix", "lead_in", "answer_budget")),
)


def configuration(recipe, *overrides):
    return composed([f"+softthink={recipe}", *MODEL], *overrides)


@pytest.mark.parametrize(
    ("mode", "selected", "verls"),
    [
        ("sync", "softthink_sync", "sync"),
        ("softthink_sync", "softthink_sync", "sync"),
        ("colocate_async", "softthink_colocate_async", "colocate_async"),
        ("softthink_colocate_async", "softthink_colocate_async", "colocate_async"),
    ],
)
def test_verls_name_of_a_mode_selects_ours(mode, selected, verls):
    config = configuration("soft_grpo", f"trainer.v1.trainer_mode={mode}")
    check_config(config)
    modes.select(config)
    assert config.trainer.v1.trainer_mode == selected
    assert modes.verl_mode(config) == verls
    check_config(config)


def test_without_an_override_a_recipe_is_synchronous():
    assert modes.verl_mode(configuration("soft_grpo")) == "sync"


@pytest.mark.parametrize(
    "taken",
    [
        ("soft_grpo",),
        ("soft_grpo", "softthink.law.name=gaussian"),
        ("soft_grpo", "softthink.law.name=multiplex", "softthink.rollout.validation=discrete"),
        ("repro",),
        ("[soft_grpo,repro]",),
        ("soft_grpo", "algorithm.adv_estimator=variational"),
        ("soft_tokens", *POCKET, "actor_rollout_ref.actor.policy_loss.loss_mode=vanilla"),
        ("soft_grpo", "algorithm.rollout_correction.rollout_is=token"),
        ("soft_grpo", "algorithm.rollout_correction.bypass_mode=true"),
    ],
)
def test_an_asynchronous_trainer_takes(taken):
    check_config(configuration(*taken, ASYNC))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (("attnrl",), "softthink.attnrl, which needs responses that the policy of a step"),
        (("attnrl", "trainer.v1.trainer_mode=softthink_colocate_async"), "leave out the recipe attnrl"),
        (("variational",), "softthink.variational, which needs responses that the policy of a step"),
        (("soft_tokens", *POCKET), "loss_mode='reinforce_sum', which has no ratio to the older policies"),
        (
            (
                "soft_grpo",
                *("softthink.law.name=gaussian", "softthink.law.fed=seed", "softthink.law.normalise_over=candidates"),
                *("actor_rollout_ref.actor.use_kl_loss=false",),
            ),
            "with softthink.law.fed='seed', which rebuilds fed embeddings",
        ),
    ],
)
def test_what_it_cannot_honour_is_refused_by_name(refused, message):
    with pytest.raises(ValueError) as error:
        check_config(configuration(refused[0], ASYNC, *refused[1:]))
    assert message in str(error.value) and "trainer.v1.trainer_mode='" in str(error.value)
