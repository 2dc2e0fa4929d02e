"""The repro recipe composes with and without soft rollouts, and refuses what it cannot work with."""

import pytest
from omegaconf import OmegaConf
from support.composing import composed

from verl_softthink.methods.registry import chosen
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.recipe_store import recipe_text


def _config(recipes: str, *overrides: str):
    model = f"actor_rollout_ref.model.path={checkpoint_path()}"
    return composed([f"+softthink={recipes}", model, "data.max_response_length=64"], *overrides)


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", "cpu")


def test_alone_it_trains_discrete_rollouts():
    settings = check_config(_config("[cpu,repro]"))
    assert settings.law is None and settings.repro == ReproSettings()
    assert [method.group for method in chosen(settings)] == ["repro"]


@pytest.mark.parametrize("recipes", ["[cpu,soft_grpo,repro]", "[cpu,repro,soft_grpo]"])
def test_it_composes_with_soft_rollouts_in_either_order(recipes):
    settings = check_config(_config(recipes))
    assert settings.law.name == "gumbel" and settings.repro == ReproSettings()


def test_without_it_there_is_no_stage():
    assert chosen(check_config(_config("[cpu,soft_grpo]"))) == []


def test_the_recipe_shows_every_setting_with_its_default_and_a_comment():
    lines = recipe_text("repro").splitlines()
    for number, line in enumerate(lines):
        if line.strip() and not line.strip().startswith("#"):
            nested = line.rstrip().endswith(":")
            assert nested or lines[number - 1].strip().startswith("#"), line
    plain = OmegaConf.to_container(OmegaConf.create(recipe_text("repro")).softthink.repro)
    assert ReproSettings(**plain) == ReproSettings() and set(plain) == set(ReproSettings.model_fields)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("softthink.repro.alpha=-1", "softthink.repro.alpha=-1: Input should be greater than or equal to 0"),
        ("softthink.repro.stability_weight=2", "softthink.repro.stability_weight=2"),
        ("softthink.repro.segments=0", "softthink.repro.segments=0"),
        ("softthink.repro.average_decay=1", "softthink.repro.average_decay=1"),
        ("softthink.repro.delimiters=[]", "give at least one delimiter"),
        ("softthink.repro.delimiters=['🦜']", "no token of the vocabulary ends one of them"),
        ("softthink.repro.answer=42", "softthink.repro.answer"),
        ("softthink.repro.answer='the answer'", "must contain {answer} once"),
        ("+softthink.repro.k=3", "softthink.repro.k=3: unknown key; known keys are alpha"),
        ("softthink.phase.end_of_thinking='❄'", "cannot produce it"),
        ("algorithm.adv_estimator=remax", "algorithm.adv_estimator='remax' has no process advantage; use one of grpo"),
        ("algorithm.rollout_correction.bypass_mode=true", "bypass_mode=True skips the pass"),
        ("++actor_rollout_ref.model.override_config.attn_implementation=eager", "attn_implementation='eager'"),
        ("actor_rollout_ref.model.use_fused_kernels=true", "use_fused_kernels=True"),
        ("actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2", "ulysses_sequence_parallel_size=2"),
    ],
)
def test_refusals_name_the_key_and_the_fix(override, message):
    with pytest.raises(ValueError) as error:
        check_config(_config("[cpu,repro]", override))
    assert message in str(error.value)
