"""What a CPU run registers with verl and vLLM: (upstream module, "package.module:function"), in order.

Each function is called with the module once somebody has imported it.
"""

_FSDP_ENGINE = "verl.workers.engine.fsdp.transformer_impl"
_PLATFORMS = "verl.plugin.platform.platform_manager"

REGISTRATIONS: tuple[tuple[str, str], ...] = (
    (_PLATFORMS, "verl_softthink.cpu.platform:register"),
    (_PLATFORMS, "verl_softthink.cpu.distribution:register"),
    ("verl.utils.distributed", "verl_softthink.cpu.process_group:register"),
    ("verl.utils.fsdp_utils", "verl_softthink.cpu.placement:register"),
    (_FSDP_ENGINE, "verl_softthink.cpu.engine:register"),
    (_FSDP_ENGINE, "verl_softthink.cpu.fsdp1:register"),
    ("verl.workers.rollout.vllm_rollout.bucketed_weight_transfer", "verl_softthink.cpu.received_weights:register"),
    ("vllm.model_executor.layers.utils", "verl_softthink.cpu.linear:register"),
)
