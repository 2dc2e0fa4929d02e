"""The bounded waits that replace classes of verl's: (upstream module, "package.module:function").

Each function is called with the module once somebody has imported it.
"""

REGISTRATIONS: tuple[tuple[str, str], ...] = (
    (
        "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer",
        "verl_softthink.liveness.weight_transfer:register",
    ),
)
