"""The anchor's recipe composes with soft rollouts, and refuses what it cannot work with."""

import pytest
from omegaconf import OmegaConf
from support.composing import composed

from verl_softthink.methods.registry import chosen
from verl_softthink.methods.thought_anchor.settings import ThoughtAnchorSettings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.recipe_store import recipe_text

KL_LOSS = "actor_rollout_ref.actor.use_kl_loss"


def _config(recipes: str, *overrides: str):
    model = f"actor_rollout_ref.model.path={checkpoint_path()}"
    return composed([f"+softthink={recipes}", model, "data.max_response_length=64"], *overrides)


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "cpu")


@pytest.mark.parametrize("law", ["gumbel", "concrete", "multiplex", "dirichlet", "gaussian", "discrete"])
def test_it_composes_with_every_law(law):
    settings = check_config(_config("[cpu,soft_grpo,thought_anchor]", f"softthink.law.name={law}"))
    assert settings.thought_anchor == ThoughtAnchorSettings()
    assert [method.group for method in chosen(settings)] == ["thought_anchor"]


def test_it_composes_with_other_methods():
    settings = check_config(_config("[cpu,soft_grpo,repro,thought_anchor]"))
    assert [method.group for method in chosen(settings)] == ["repro", "thought_anchor"]


def test_the_recipe_shows_every_setting_with_its_default_and_a_comment():
    lines = recipe_text("thought_anchor").splitlines()
    for number, line in enumerate(lines):
        if line.strip() and not line.strip().startswith("#"):
            assert line.rstrip().endswith(":") or lines[number - 1].strip().startswith("#"), line
    plain = OmegaConf.to_container(OmegaConf.create(recipe_text("thought_anchor")).softthink.thought_anchor)
    assert ThoughtAnchorSettings(**plain) == ThoughtAnchorSettings()
    assert set(plain) == set(ThoughtAnchorSettings.model_fields)


def test_weights_of_advantages_alone_need_no_reference_model():
    check_config(
        _config("[cpu,soft_grpo,thought_anchor]", f"{KL_LOSS}=false", "softthink.thought_anchor.coefficient=0")
    )


@pytest.mark.parametrize(
    ("recipes", "override", "message"),
    [
        ("[cpu,repro,thought_anchor]", "softthink.repro.alpha=0.2", "softthink.law=None with softthink.thought_anchor"),
        ("[cpu,soft_grpo,thought_anchor]", f"{KL_LOSS}=false", f"{KL_LOSS}=False with .*set {KL_LOSS}=True"),
        ("[cpu,soft_grpo,thought_anchor]", "softthink.thought_anchor.coefficient=-1", "coefficient=-1"),
        ("[cpu,soft_grpo,thought_anchor]", "softthink.thought_anchor.tokens=0", "tokens=0"),
        ("[cpu,soft_grpo,thought_anchor]", "softthink.thought_anchor.advantage_weight=-1", "advantage_weight=-1"),
        (
            "[cpu,soft_grpo,thought_anchor]",
            "softthink.likelihood.positions_at_once=8",
            "positions_at_once=8 with softthink.thought_anchor",
        ),
        (
            "[cpu,soft_grpo,attnrl,thought_anchor]",
            "softthink.attnrl.shared_prefix=dedup",
            "shared_prefix='dedup' with softthink.thought_anchor",
        ),
        (
            "[cpu,soft_grpo,thought_anchor]",
            "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2",
            "softthink.thought_anchor needs whole ones",
        ),
    ],
)
def test_refusals_name_the_key_and_the_fix(recipes, override, message):
    with pytest.raises(ValueError, match=message):
        check_config(_config(recipes, override))
