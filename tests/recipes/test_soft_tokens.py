"""Soft Tokens' scripts compose against verl's own configuration, and the training modes differ in the law alone."""

import re

import pytest
from recipes.arms import RECIPES, ROOT, compose, differences, flat, overrides

from verl_softthink.methods.settings import parse_node

RECIPE = RECIPES / "soft_tokens"
RUNS = {"pocket": "run_pocket_cpu.sh", "smollm2": "run_smollm2_cpu.sh", "llama": "run_llama_gpu.sh"}
MODES = ("soft", "fuzzy", "hard", "candidates")
#: Written by the modes' recipes; the start-up check refuses what does not fit together.
MODE_KEYS = {"softthink.law.name", "softthink.filter.temperature", "trainer.experiment_name"}
#: Of the noise among the candidates.
CANDIDATES_KEYS = {f"softthink.law.{key}" for key in ("covariance", "gamma", "normalise_over", "fed")} | {
    f"softthink.filter.{key}" for key in ("top_k", "max_topk")
}


@pytest.fixture(scope="module")
def configs(tmp_path_factory) -> dict[tuple[str, str], dict]:
    directory = tmp_path_factory.mktemp("recipes")
    arms = [(run, method) for run in RUNS for method in (*MODES, "soft_grpo", "grpo")]
    lines = [overrides(f"soft_tokens/{RUNS[run]}", directory, METHOD=method, SEED="3") for run, method in arms]
    return dict(zip(arms, compose(lines), strict=True))


@pytest.mark.parametrize("run", RUNS)
def test_modes_differ_in_the_law_alone(configs, run):
    soft, fuzzy, hard, candidates = (flat(configs[run, mode]) for mode in MODES)
    assert differences(soft, candidates) <= MODE_KEYS | CANDIDATES_KEYS
    assert candidates["softthink.law.covariance"] == "candidates" and candidates["softthink.law.gamma"] == 1.0
    for other in (fuzzy, hard):
        # The pocket reasoner needs more noise, which tokens do not have.
        assert differences(soft, other) <= MODE_KEYS | ({"softthink.law.gamma"} if run == "pocket" else set())
    laws = [(mode["softthink.law.name"], mode["softthink.filter.temperature"]) for mode in (soft, fuzzy, hard)]
    assert laws == [("gaussian", 0.5), ("gaussian", 1e-4), ("discrete", 1.0)]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("mode", MODES)
def test_method_is_the_papers(configs, run, mode):
    config = configs[run, mode]
    settings = parse_node(config["softthink"])
    actor, rollout = config["actor_rollout_ref"]["actor"], config["actor_rollout_ref"]["rollout"]
    assert config["algorithm"]["adv_estimator"] == "rloo" and not config["algorithm"]["use_kl_in_reward"]
    assert actor["policy_loss"]["loss_mode"] == "reinforce_sum"
    assert actor["loss_agg_mode"] == "seq-mean-token-sum" and not actor["use_kl_loss"] and not actor["entropy_coeff"]
    assert config["reward"]["custom_reward_function"]["path"] == "pkg://verl_softthink.data.graded_reward"
    # On-policy: one update for a batch.
    assert actor["ppo_epochs"] == 1 and actor["ppo_mini_batch_size"] == config["data"]["train_batch_size"]
    # Room for the thought, what is forced after it, and the answer.
    answer = settings.phase.answer_budget or 1
    assert settings.phase.budget + answer < config["data"]["max_response_length"]
    assert rollout["max_model_len"] >= config["data"]["max_prompt_length"] + config["data"]["max_response_length"]
    assert "hf_model" in actor["checkpoint"]["save_contents"], "verl-softthink eval reads the checkpoint"


def test_the_paper_run_has_the_papers_settings(configs):
    config = configs["llama", "soft"]
    actor, phase = config["actor_rollout_ref"]["actor"], config["softthink"]["phase"]
    assert (config["data"]["train_batch_size"], config["actor_rollout_ref"]["rollout"]["n"]) == (2, 32)
    assert (actor["optim"]["lr"], actor["optim"]["lr_scheduler_type"], actor["optim"]["lr_warmup_steps"]) == (
        6e-6,
        "cosine",
        20,
    )
    assert config["trainer"]["total_training_steps"] == 4000
    assert (phase["end_of_thinking"], phase["match"]) == ("The final answer is:", "text")
    assert (phase["budget"], phase["answer_budget"]) == (128, 32)
    assert phase["answer_prefix"].strip() == r"\boxed{"
    assert phase["lead_in"].strip() == r"The final answer is: \boxed{"


def test_cap_follows_the_data_set(tmp_path):
    for dataset, budget in (("gsm8k", 128), ("math", 512), ("deepscaler", 512)):
        arguments = overrides("soft_tokens/run_llama_gpu.sh", tmp_path, DATASET=dataset)
        assert f"softthink.phase.budget={budget}" in arguments
        assert f"data.max_response_length={budget + 64}" in arguments


@pytest.mark.parametrize("run", RUNS)
def test_every_arm_has_the_same_budget_and_seed(configs, run):
    keys = (
        *("data.train_batch_size", "data.max_response_length", "data.seed", "trainer.total_training_steps"),
        *("actor_rollout_ref.rollout.n", "actor_rollout_ref.actor.optim.lr", "actor_rollout_ref.model.path"),
        "actor_rollout_ref.actor.data_loader_seed",
    )
    budgets = {tuple(flat(config)[key] for key in keys) for (name, _), config in configs.items() if name == run}
    assert len(budgets) == 1 and 3 in budgets.pop()
    for method in ("soft_grpo", "grpo"):
        config = configs[run, method]
        assert config["algorithm"]["adv_estimator"] == "grpo"
        assert config["actor_rollout_ref"]["actor"]["policy_loss"]["loss_mode"] == "vanilla"
    phases = [configs[run, method]["softthink"]["phase"] for method in ("soft", "soft_grpo")]
    for key in ("end_of_thinking", "match", "budget", "answer_prefix", "lead_in"):
        assert phases[0][key] == phases[1][key]
    assert configs[run, "grpo"]["actor_rollout_ref"]["rollout"]["name"] == "vllm"
    assert "softthink" not in configs[run, "grpo"]


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="METHOD=ppo is unknown; use soft or fuzzy or candidates or hard or soft"):
        overrides("soft_tokens/run_pocket_cpu.sh", tmp_path, METHOD="ppo")
    with pytest.raises(RuntimeError, match="DATASET=math500 is unknown; use gsm8k, math or deepscaler"):
        overrides("soft_tokens/run_llama_gpu.sh", tmp_path, DATASET="math500")


def test_readme_names_existing_scripts_and_the_recipes_values():
    text = (RECIPE / "README.md").read_text()
    for script in re.findall(r"recipes/soft_tokens/(\w+\.sh)", text):
        assert (RECIPE / script).exists()
    for mode in ("soft_tokens_fuzzy", "soft_tokens_candidates", "soft_tokens_hard"):
        assert mode in text and (ROOT / "verl_softthink/training/recipes" / f"{mode}.yaml").exists()
