"""What verl takes on the driver and ends on in its workers is refused on the driver, by key, value and fix."""

import pytest
from support.composing import composed

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config

MODEL = [
    f"actor_rollout_ref.model.path={checkpoint_path()}",
    *("data.max_prompt_length=32", "data.max_response_length=64"),
]
ACTOR, ROLLOUT, REF = (f"actor_rollout_ref.{role}" for role in ("actor", "rollout", "ref"))
REWARD, VLLM = "reward.custom_reward_function", f"{ROLLOUT}.engine_kwargs.vllm"
DYNAMIC = f"{ACTOR}.use_dynamic_bsz=True"
TWO_RANKS = [f"{ACTOR}.ulysses_sequence_parallel_size=2", "actor_rollout_ref.model.use_remove_padding=True"]


def problems(recipe, *overrides):
    with pytest.raises(ValueError) as error:
        check_config(composed([f"+softthink={recipe}", *MODEL], *overrides))
    return str(error.value)


@pytest.mark.parametrize("recipe", ["soft_grpo", "repro"])
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["trainer.resume_mode=disabled"], "trainer.resume_mode='disabled' is unknown; use one of auto, disable"),
        (["trainer.resume_mode=resume_path"], "trainer.resume_from_path=None with trainer.resume_mode=resume_path"),
        (
            ["trainer.resume_mode=resume_path", "trainer.resume_from_path=/nowhere/global_step_3"],
            "trainer.resume_from_path='/nowhere/global_step_3' with",
        ),
        (["trainer.logger=[console,tensorbord]"], "trainer.logger='tensorbord' is unknown; use of wandb"),
        (["trainer.logger=swanlab"], "trainer.logger='swanlab' needs the package swanlab, which is not installed"),
        ([DYNAMIC, f"{ACTOR}.ppo_max_token_len_per_gpu=95"], f"{ACTOR}.ppo_max_token_len_per_gpu=95 with {DYNAMIC}"),
        ([DYNAMIC, f"{ROLLOUT}.log_prob_max_token_len_per_gpu=80"], "raise it to 96 at least"),
        ([DYNAMIC, *TWO_RANKS, f"{ACTOR}.ppo_max_token_len_per_gpu=47"], "raise it to 48 at least"),
        ([f"{REF}.log_prob_use_dynamic_bsz=True", f"{REF}.log_prob_max_token_len_per_gpu=5"], "raise it to 96 at"),
        ([f"{ROLLOUT}.log_prob_use_dynamic_bsz=True"], "one engine makes both passes; set them alike"),
        (
            [f"{ACTOR}.ppo_micro_batch_size_per_gpu=null", f"{ACTOR}.ppo_micro_batch_size=8"],
            f"{ACTOR}.ppo_micro_batch_size=8: verl's workers read {ACTOR}.ppo_micro_batch_size_per_gpu alone",
        ),
        (
            [f"{ROLLOUT}.tensor_model_parallel_size=3"],
            "rollout engines of 3 devices do not divide the 8 of trainer.nnodes=1 times trainer.n_gpus_per_node=8",
        ),
        (
            ["trainer.nnodes=2", "+ray_kwargs.ray_init.address=local"],
            "trainer.nnodes=2 with ray_kwargs.ray_init.address='local'",
        ),
        (
            ["algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=null"],
            "algorithm.filter_groups.metric=None with algorithm.filter_groups.enable=True",
        ),
        ([f"+{VLLM}.max_model_len=64"], f"{VLLM}.max_model_len=64: verl computes with {ROLLOUT}.max_model_len"),
        ([f"+{VLLM}.tensor_parallel_size=4"], f"verl computes with {ROLLOUT}.tensor_model_parallel_size"),
        ([f"+{VLLM}.no_such_setting=3"], f"{VLLM}.no_such_setting=3: the installed vLLM's server has no such setting"),
        ([f"{REWARD}.path=/nowhere/reward.py"], f"{REWARD}.path='/nowhere/reward.py' does not exist: give a Python"),
        ([f"{REWARD}.path=verl_softthink.data.math_reward"], "or pkg:// and the name of a module"),
        ([f"{REWARD}.path='pkg://no_such_package.reward'"], "does not exist"),
        (
            [f"{REWARD}.path='pkg://verl_softthink.data.math_reward'", f"{REWARD}.name=grade"],
            f"{REWARD}.name='grade' is not defined in {REWARD}.path='pkg://verl_softthink.data.math_reward'",
        ),
        (["data.max_prompt_length=null"], "data.max_prompt_length=None: set a positive number of tokens"),
        (["actor_rollout_ref.model.use_liger=True"], "use_liger=True needs the package liger_kernel, which is not"),
        ([f"{ROLLOUT}.load_format=dummy_dtensor"], f"{ROLLOUT}.load_format='dummy_dtensor': the installed vLLM knows"),
        (["data.custom_cls.path=/nowhere/rows.py", "data.custom_cls.name=Rows"], "data.custom_cls.path='/nowhere/rows"),
        ([f"{ROLLOUT}.agent.agent_loop_config_path=/nowhere/loops.yaml"], "loops.yaml' does not exist: name a file"),
    ],
)
def test_it_is_refused(recipe, overrides, sentence):
    assert sentence in problems(recipe, *overrides)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (f"+{VLLM}.kv_cache_dtype=fp8", f"{VLLM}.kv_cache_dtype='fp8': densities of the quantised rollout"),
        (f"{ROLLOUT}.disaggregation.enabled=True", "would part a soft request from its history"),
        ("skip.rollout_tq.enable=True", "rollouts that are read from disk may be of another law"),
    ],
)
def test_only_soft_requests_refuse_it(override, sentence):
    assert sentence in problems("soft_grpo", override)
    check_config(composed(["+softthink=repro", *MODEL], override))


@pytest.mark.parametrize(
    "overrides",
    [
        [DYNAMIC, f"{ACTOR}.ppo_max_token_len_per_gpu=96", f"{REF}.log_prob_max_token_len_per_gpu=96"],
        [DYNAMIC, *TWO_RANKS, f"{ACTOR}.ppo_max_token_len_per_gpu=48"],
        [f"{ACTOR}.ppo_max_token_len_per_gpu=5"],
        ["trainer.logger=console"],
        ["trainer.nnodes=2"],
        [f"+{VLLM}.block_size=32", f"+{VLLM}.no_such_setting=False"],
        [f"+{VLLM}.block-size=32"],
        [f"{REWARD}.path='pkg://verl_softthink/data/math_reward'"],
        ["algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=acc"],
    ],
)
def test_it_is_taken(overrides):
    check_config(composed(["+softthink=soft_grpo", *MODEL], *overrides))


def test_a_checkpoint_and_code_that_are_there_are_taken(tmp_path):
    folder = tmp_path / "global_step_3"
    folder.mkdir()
    own = tmp_path / "own.py"
    own.write_text("from math import *\n")
    resume = ["trainer.resume_mode=resume_path", f"trainer.resume_from_path={folder}"]
    check_config(composed(["+softthink=soft_grpo", *MODEL], *resume, f"{REWARD}.path={own}"))
    broken = tmp_path / "broken.py"
    broken.write_text("def compute_score(:\n")
    assert f"{REWARD}.path='{broken}' is no Python: " in problems("soft_grpo", f"{REWARD}.path={broken}")
