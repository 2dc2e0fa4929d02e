"""The arms of the variational recipe compose against verl's own configuration and differ in the method alone."""

import re

import pytest
from recipes.arms import BOUNDED_WAITS, RECIPES, compose, differences, flat, overrides

from verl_softthink.methods.settings import parse_node
from verl_softthink.methods.variational.settings import VariationalSettings
from verl_softthink.pocket import checkpoint_path

RECIPE = RECIPES / "variational"
ARMS = ("grpo", "variational_a", "rft", "variational_b")
PLUGGED = frozenset(
    {
        "actor_rollout_ref.rollout.custom",
        "actor_rollout_ref.rollout.agent.default_agent_loop",
        "actor_rollout_ref.model.model_type",
        "trainer.v1.trainer_mode",
        BOUNDED_WAITS,
    }
)
LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
#: What an arm may differ in from GRPO, beside names and directories.
DIFFERENCES = {
    "variational_a": {"algorithm.adv_estimator"},
    "rft": {"algorithm.adv_estimator", LOSS},
    "variational_b": {"algorithm.adv_estimator", LOSS} | PLUGGED,
}


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[tuple[str, str], dict]:
    directory = tmp_path_factory.mktemp("recipes")
    runs = [(script, arm) for script in ("pocket_cpu", "qwen_gpu") for arm in ARMS]
    places = {"MODEL": str(checkpoint_path()), "DATA": str(directory / "data")}
    lines = [overrides(f"variational/run_{script}.sh", directory, METHOD=arm, **places) for script, arm in runs]
    return dict(zip(runs, compose(lines), strict=True))


@pytest.mark.parametrize("script", ["pocket_cpu", "qwen_gpu"])
@pytest.mark.parametrize("arm", DIFFERENCES)
def test_an_arm_differs_from_grpo_in_the_method_alone(configs, script, arm):
    ours, grpo = dict(configs[script, arm]), configs[script, "grpo"]
    settings = ours.pop("softthink", None)
    assert (settings is not None) == (arm == "variational_b")
    if settings:
        parse_node(settings)
    assert differences(ours, grpo, whole=PLUGGED) == DIFFERENCES[arm] | {"trainer.experiment_name"}
    ours, grpo = flat(ours), flat(grpo)
    assert grpo["algorithm.adv_estimator"] == "grpo"
    assert ours["actor_rollout_ref.actor.loss_agg_mode"] == "seq-mean-token-sum-norm"
    assert ours["actor_rollout_ref.rollout.name"] == "vllm"
    assert not ours["actor_rollout_ref.actor.use_kl_loss"]


def test_unknown_arms_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="METHOD=ppo is unknown; use variational_b or variational_a or rft or grpo"):
        overrides("variational/run_pocket_cpu.sh", tmp_path, METHOD="ppo")


def test_the_settings_table_lists_every_key_with_its_default():
    text = (RECIPE / "README.md").read_text()
    table = dict(re.findall(r"^\| `softthink\.variational\.([\w.]+)` \| `?([^`|]*?)`? \|", text, re.M))
    defaults = {key: str(value) for key, value in flat(VariationalSettings().model_dump()).items()}
    assert table.pop("hint.template") == "see the recipe"
    assert {key: value for key, value in defaults.items() if key != "hint.template"} == table
