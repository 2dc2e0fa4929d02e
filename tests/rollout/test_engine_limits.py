"""Engine features that soft requests refuse, by name."""

from types import SimpleNamespace

import pytest

from verl_softthink.rollout.vllm.limits import check_engine


def config(**changes):
    parallel = {"pipeline_parallel_size": 1, "prefill_context_parallel_size": 1}
    model = {
        "enable_prompt_embeds": False,
        "enable_return_routed_experts": False,
        "is_hybrid": False,
        "is_attention_free": False,
        "is_encoder_decoder": False,
        "uses_mrope": False,
        "architecture": "SomeForCausalLM",
    }
    rest = {"speculative_config": None, "use_v2_model_runner": True}
    parallel |= {name: value for name, value in changes.items() if name.endswith("_size") or "sharded" in name}
    model |= {name: value for name, value in changes.items() if name in model}
    rest |= {name: value for name, value in changes.items() if name in rest}
    return SimpleNamespace(
        parallel_config=SimpleNamespace(**parallel),
        model_config=SimpleNamespace(**model),
        scheduler_config=SimpleNamespace(policy=changes.get("policy", "fcfs")),
        **rest,
    )


def test_an_ordinary_engine_is_taken_with_either_runner():
    check_engine(config())
    check_engine(config(use_v2_model_runner=False, is_hybrid=True))
    check_engine(config(enable_batch_sharded_sampling=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size=2"),
        ({"prefill_context_parallel_size": 4}, "prefill_context_parallel_size=4"),
        ({"enable_batch_sharded_sampling": True}, "enable_batch_sharded_sampling=True"),
        ({"policy": "priority"}, "scheduling_policy='priority'.*set it to 'fcfs'"),
        ({"speculative_config": object()}, "speculative_config=.*a draft model proposes tokens.*set it to None"),
        ({"enable_prompt_embeds": True}, "enable_prompt_embeds=True"),
        ({"enable_return_routed_experts": True}, "enable_return_routed_experts=True"),
        ({"is_hybrid": True}, "SomeForCausalLM has a model state of its own.*VLLM_USE_V2_MODEL_RUNNER=0"),
        ({"is_encoder_decoder": True}, "SomeForCausalLM has a model state of its own"),
        ({"uses_mrope": True}, "SomeForCausalLM has 3-D positions.*use a text-only model"),
    ],
)
def test_what_would_be_wrong_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        check_engine(config(**change))


def test_routed_experts_are_refused_where_they_are_an_auxiliary_output():
    """As from vLLM 0.31, whose model configuration does not have the setting."""
    newer = config()
    del newer.model_config.enable_return_routed_experts
    newer.aux_output_config = SimpleNamespace(enable_return_routed_experts=False)
    check_engine(newer)
    newer.aux_output_config.enable_return_routed_experts = True
    with pytest.raises(ValueError, match="enable_return_routed_experts=True"):
        check_engine(newer)
