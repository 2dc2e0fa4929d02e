"""What the doctor says of a configuration against what the run itself does with it, both ways, setting by setting.

The run's side is code of verl and vLLM, called as the entry point and the server call it: verl's validation, which ours
is hooked into, the trainer's class, the dataclasses of model and rollout, the data sets, the server's own check of
lengths, and vLLM's configuration and its check of the KV cache.
"""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from support.composing import composed

from doctor.broken_installs import sound

pytest.importorskip("vllm")
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.utils import config as verl_config
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.core.kv_cache_utils import check_enough_kv_cache_memory
from vllm.v1.kv_cache_interface import FullAttentionSpec

from verl_softthink.doctor.configuration import judged
from verl_softthink.doctor.findings import Status

ROLLOUT, ACTOR, MODEL = "actor_rollout_ref.rollout", "actor_rollout_ref.actor", "actor_rollout_ref.model"
VLLM, LOSS = f"{ROLLOUT}.engine_kwargs.vllm", f"{ACTOR}.policy_loss.loss_mode"
CACHE = f"{VLLM}.kv_cache_memory_bytes"
#: The pocket reasoner answers with a digit: nothing begins an answer, and nothing follows one.
NO_TEXTS = [f"softthink.phase.{key}=null" for key in ("answer_prefix", "lead_in", "answer_budget")]
#: Recipes, and overrides of a sound command line.
REFUSED = [
    ("repro", "trainer.v1.trainer_mode=separate_async"),
    ("attnrl", "trainer.v1.trainer_mode=colocate_async"),
    ("variational", "trainer.use_v1=false"),
    ("soft_grpo", f"{LOSS}=dppo_tv"),
    ("soft_grpo", f"{LOSS}=kl_cov"),
    ("soft_grpo", f"{LOSS}=vanila"),
    ("repro", f"{LOSS}=vanila"),
    ("soft_grpo", "algorithm.adv_estimator=gae"),
    ("soft_grpo", "algorithm.adv_estimator=grppo"),
    ("repro", "algorithm.adv_estimator=remax"),
    ("soft_grpo", f"{ACTOR}.kl_loss_type=k9"),
    ("soft_grpo", f"{ROLLOUT}.multi_turn.enable=true"),
    ("repro", f"{ROLLOUT}.multi_turn.enable=true"),
    ("soft_grpo", f"{MODEL}.lora_rank=8", f"{MODEL}.target_modules=[q_proj,embed_tokens]"),
    ("soft_grpo", f"+{VLLM}.speculative_config.method=ngram"),
    ("soft_grpo", f"{ROLLOUT}.scheduling_policy=priority"),
    ("soft_grpo", f"{ROLLOUT}.quantization=fp8"),
    ("soft_grpo", f"{ACTOR}.strategy=megatron"),
    ("soft_grpo", f"{ROLLOUT}.val_kwargs.temperature=0"),
    ("soft_grpo", f"{ROLLOUT}.name=sglang"),
    ("soft_grpo", "softthink.phase.budget=64"),
    ("attnrl", "data.gen_batch_size=8"),
    ("soft_grpo", f"{ROLLOUT}.max_model_len=512"),
    ("soft_grpo", "data.max_response_length=512"),
    ("soft_grpo", f"{ROLLOUT}.max_num_batched_tokens=255"),
    ("soft_grpo", f"{CACHE}=100000"),
    ("soft_grpo", f"{CACHE}=524287"),
    ("soft_grpo", f"{CACHE}=393215", f"+{VLLM}.block_size=32"),
    ("soft_grpo", f"{CACHE}=1048575", f"{ROLLOUT}.max_model_len=null", f"{ROLLOUT}.max_num_batched_tokens=2048"),
]
TAKEN = [
    ("soft_grpo",),
    ("soft_tokens", "softthink.phase.end_of_thinking='</think>'", "softthink.phase.budget=32", *NO_TEXTS),
    ("repro",),
    ("variational", f"{ACTOR}.loss_scale_factor=64"),
    ("attnrl", "data.gen_batch_size=1"),
    ("soft_grpo,repro",),
    ("soft_grpo", "trainer.v1.trainer_mode=softthink_sync"),
    ("repro", "trainer.v1.trainer_mode=sync"),
    ("soft_grpo", "trainer.v1.trainer_mode=colocate_async"),
    ("soft_grpo", f"{LOSS}=gspo"),
    ("repro", f"{LOSS}=dppo_tv"),
    ("soft_grpo", "algorithm.adv_estimator=rloo"),
    ("soft_grpo", f"{ACTOR}.kl_loss_type=k1"),
    ("soft_grpo", "softthink.phase.answer_budget=8", "algorithm.adv_estimator=reinforce_plus_plus"),
    ("soft_grpo", f"{MODEL}.lora_rank=8", f"{MODEL}.target_modules=[q_proj]"),
    ("repro", f"{ROLLOUT}.scheduling_policy=priority"),
    ("soft_grpo", f"{ROLLOUT}.val_kwargs.temperature=0", "softthink.rollout.validation=discrete"),
    ("soft_grpo", f"{ROLLOUT}.name=vllm"),
    ("soft_grpo", "softthink.phase.budget=63"),
    ("soft_grpo", f"{ROLLOUT}.max_model_len=256"),
    ("soft_grpo", f"{ROLLOUT}.max_model_len=80"),
    ("soft_grpo", f"{ROLLOUT}.max_num_batched_tokens=256"),
    ("soft_grpo", f"{ROLLOUT}.max_num_batched_tokens=512", f"{ROLLOUT}.max_num_seqs=512"),
    ("soft_grpo", f"{ROLLOUT}.max_num_batched_tokens=64", f"{ROLLOUT}.max_num_seqs=8"),
    ("soft_grpo", f"{CACHE}=524288"),
    ("soft_grpo", f"{CACHE}=393216", f"+{VLLM}.block_size=32"),
]


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")

    def make(recipes: str, *overrides: str) -> DictConfig:
        return composed([f"+softthink=[cpu,{recipes}]"], *sound(folder)[1:], *overrides)

    return make


def run_refuses(config: DictConfig) -> str | None:
    """Why the run of a configuration ends before its first step; None where it begins."""
    try:
        critic, reference = need_critic(config), need_reference_policy(config)
        # Ours is the attribute of the module, as ``main_ppo`` imports it.
        verl_config.validate_config(config=config, use_reference_policy=reference, use_critic=critic)
        get_trainer_cls(config.trainer.v1.trainer_mode)
        rollout = verl_config.omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
        model = verl_config.omega_conf_to_dataclass(config.actor_rollout_ref.model)
        vLLMHttpServer._validate_configs(SimpleNamespace(config=rollout, model_config=model))
        _engine(config, rollout)
    except (ValueError, AssertionError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _engine(config: DictConfig, rollout) -> None:
    given = OmegaConf.to_container(config.actor_rollout_ref.rollout.engine_kwargs.vllm, resolve=True)
    sizes = ("dtype", "max_model_len", "max_num_seqs", "enable_chunked_prefill", "max_num_batched_tokens")
    arguments = {name: getattr(rollout, name) for name in sizes}
    arguments |= {name: value for name, value in given.items() if value is not None}
    path = config.actor_rollout_ref.model.path
    engine = EngineArgs(model=path, enforce_eager=True, **arguments).create_engine_config()
    model, parallel = engine.model_config, engine.parallel_config
    layer = FullAttentionSpec(
        block_size=engine.cache_config.block_size,
        num_kv_heads=model.get_num_kv_heads(parallel),
        head_size=model.get_head_size(),
        dtype=torch.float32,
    )
    layers = {str(number): layer for number in range(model.get_num_layers(parallel))}
    check_enough_kv_cache_memory(engine, layers, given["kv_cache_memory_bytes"])


def doctor_refuses(config: DictConfig) -> list[str]:
    return [finding.text for finding in judged(config) if finding.status is Status.failure]


@pytest.mark.parametrize("setting", REFUSED, ids=" ".join)
def test_both_refuse(configuration, setting):
    config = configuration(*setting)
    assert (run_refuses(config.copy()) is not None, doctor_refuses(config) != []) == (True, True)


@pytest.mark.parametrize("setting", TAKEN, ids=" ".join)
def test_both_take(configuration, setting):
    config = configuration(*setting)
    assert (run_refuses(config.copy()), doctor_refuses(config)) == (None, [])
