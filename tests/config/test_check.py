"""Wrong settings are refused on the driver, before Ray starts, by a line with the key, the value and the fix."""

import os
import subprocess
import sys

import pytest
from omegaconf import OmegaConf
from support.composing import composed

from verl_softthink.config.base import parse
from verl_softthink.config.settings import LawSettings, SoftThinkSettings
from verl_softthink.laws import LAWS
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.recipe_store import recipe_text

BASE = [
    "+softthink=soft_grpo",
    f"actor_rollout_ref.model.path={checkpoint_path()}",
    "data.max_response_length=64",
]


def configuration(*overrides):
    return composed(BASE, *overrides)


def test_the_recipe_as_it_is_passes():
    settings = check_config(configuration())
    assert settings.law.name == "gumbel"
    assert settings.filter.max_topk == 5


def test_settings_reach_the_workers_resolved():
    config = configuration("softthink.law.tau=0.3")
    OmegaConf.resolve(config)
    assert config.actor_rollout_ref.rollout.custom.softthink.law.tau == 0.3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("softthink.law.tau=0", "softthink.law.tau=0: it must be a number at least 1.19209e-07"),
        ("softthink.law.tau=-1", "softthink.law.tau=-1"),
        ("softthink.law.name=gumble", "softthink.law.name='gumble': unknown law; use one of concrete"),
        ("softthink.law.noise_scale=0.01", "softthink.law.noise_scale=0.01"),
        ("+softthink.law.temp=1", "softthink.law.temp=1: unknown key; known keys of the law 'gumbel' are name"),
        ("softthink.filter.max_topk=65", "softthink.filter.max_topk=65"),
        ("softthink.filter.top_p=0", "softthink.filter.top_p=0"),
        ("softthink.phase.cold_length=3", "set both or neither"),
        ("softthink.law.name=deterministic", "has no likelihood"),
        ("softthink.phase.budget=0", "softthink.phase.budget=0 leaves no thought to train"),
        ("softthink.phase.budget=64", "leaves no room for an answer in data.max_response_length=64"),
        ("softthink.phase.end_of_thinking='❄'", "cannot produce it"),
        ("softthink.phase.end_of_thinking=[5000]", "outside the tokenizer"),
        (
            "actor_rollout_ref.model.custom_chat_template='<think></think>'",
            "begins the model's turn with '<think></think>'",
        ),
        ("softthink.rollout.prefix_cache_salt=false", "softthink.rollout.prefix_cache_salt=False with"),
        ("softthink.rollout.validation=hard", "softthink.rollout.validation='hard'"),
        ("actor_rollout_ref.model.use_fused_kernels=true", "use_fused_kernels=True"),
        ("actor_rollout_ref.actor.strategy=megatron", "actor_rollout_ref.actor.strategy='megatron'"),
        ("actor_rollout_ref.rollout.name=sglang", "actor_rollout_ref.rollout.name='sglang': soft tokens are rolled"),
        ("trainer.v1.trainer_mode=separate_async", "trainer.v1.trainer_mode='separate_async': recipes have the modes"),
        ("trainer.use_v1=false", "trainer.use_v1=False: this recipe needs True"),
        ("actor_rollout_ref.model.model_type=language_model", "actor_rollout_ref.model.model_type"),
        ("actor_rollout_ref.rollout.calculate_log_probs=false", "calculate_log_probs=False"),
        ("actor_rollout_ref.rollout.pipeline_model_parallel_size=2", "pipeline_model_parallel_size=2"),
        ("actor_rollout_ref.rollout.enable_rollout_routing_replay=true", "enable_rollout_routing_replay=True"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_the_fix(override, message):
    with pytest.raises(ValueError) as error:
        check_config(configuration(override))
    assert message in str(error.value)


ULYSSES = [
    "actor_rollout_ref.actor.ulysses_sequence_parallel_size=2",
    "actor_rollout_ref.model.use_remove_padding=true",
]


def test_sequence_parallelism_is_taken():
    check_config(configuration(*ULYSSES))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("actor_rollout_ref.model.use_remove_padding=false", "=2 slices packed sequences; set"),
        ("+actor_rollout_ref.model.override_config.attn_implementation=sdpa", "'sdpa' would see one rank's slice"),
        (
            "softthink.likelihood.positions_at_once=64",
            "=2 slices sequences, and softthink.likelihood.positions_at_once",
        ),
        ("softthink.law.name=gaussian", "=2 slices sequences, and softthink.law.name='gaussian' needs whole ones"),
    ],
)
def test_what_reads_whole_sequences_is_refused_beside_it(override, message):
    with pytest.raises(ValueError) as error:
        check_config(configuration(*ULYSSES, override))
    assert message in str(error.value)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ValueError) as error:
        check_config(configuration("actor_rollout_ref.rollout.name=sglang", "softthink.phase.budget=100"))
    assert "rollout.name" in str(error.value)
    assert "phase.budget=100" in str(error.value)


def test_every_key_of_the_recipe_is_commented_and_every_setting_is_in_it():
    lines = recipe_text("soft_grpo").splitlines()
    for number, line in enumerate(lines):
        if ":" in line and not line.strip().startswith("#") and not line.strip().endswith(":"):
            above = lines[:number][::-1]
            block = [other for other in above[:4] if other.strip().startswith("#")]
            assert block, f"line {number + 1} has no comment near it: {line}"
    recipe = OmegaConf.create(recipe_text("soft_grpo")).softthink
    plain = OmegaConf.to_container(recipe)
    defaults = SoftThinkSettings(law=LawSettings())
    dumped = {group: values for group, values in defaults.model_dump().items() if values is not None}
    # The laws' parameters are at their defaults; the recipe that Hydra composes has the keys of all of them.
    dumped["law"] = {key: value for key, value in dumped["law"].items() if key not in defaults.law.parameters}
    of_laws = {parameter.name for law in LAWS.own for parameter in law.parameters}
    assert set(configuration().softthink.law) == {"name", "normalise_over"} | of_laws
    assert {group: set(values) for group, values in plain.items()} == {
        group: set(values) for group, values in dumped.items()
    }
    assert parse(SoftThinkSettings, plain, "softthink") == defaults


def test_without_a_law_rollouts_are_discrete_and_nothing_may_ask_for_soft_ones():
    with pytest.raises(ValueError) as error:
        check_config(configuration("softthink.law=null"))
    assert "softthink.filter is given, but softthink.law=None" in str(error.value)
    with pytest.raises(ValueError) as error:
        check_config(
            configuration("softthink.law=null", "~softthink.filter", "actor_rollout_ref.rollout.name=softthink_vllm")
        )
    assert "actor_rollout_ref.rollout.name='softthink_vllm' with softthink.law=None" in str(error.value)
    assert check_config(configuration("softthink.law=null", "~softthink.filter")).law is None


def test_the_stock_entry_point_refuses_before_ray_starts():
    result = subprocess.run(
        [sys.executable, "-m", "verl.trainer.main_ppo", *BASE, "softthink.law.tau=0"],
        env=os.environ | {"VERL_PLATFORM": "cpu", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode != 0
    assert "softthink.law.tau=0: it must be a number at least 1.19209e-07" in result.stderr
    assert "ray init kwargs" not in result.stdout
