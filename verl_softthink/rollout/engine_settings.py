"""Settings of vLLM under which a soft request would be wrong: one list for the driver and for the engine itself.

The driver knows what verl is asked to pass on, and refuses it before a worker starts; the engine knows what came of it.
"""

from collections.abc import Mapping

#: By vLLM's name: the one value that soft requests can run with, and why no other.
NEEDED: Mapping[str, tuple[object, str]] = {
    "pipeline_parallel_size": (1, "soft tokens need the logits and the embedding in one process"),
    "prefill_context_parallel_size": (1, "soft rows are found by their place in the whole batch"),
    "scheduling_policy": (
        "fcfs",
        "new requests could overtake preempted ones, which keep their soft history, and more could be alive than "
        "max_num_seqs, for which there is room",
    ),
    "enable_batch_sharded_sampling": (
        False,
        "each rank would get the logits of some requests only, while every rank feeds all mixtures",
    ),
    "speculative_config": (None, "a draft model proposes tokens, not mixtures"),
    "enable_prompt_embeds": (False, "it takes the embedding layer, in which soft tokens act, out of the model"),
    "enable_return_routed_experts": (False, "it uses the channel that carries soft traces"),
}


def problem(setting: str, value: object, key: str | None = None) -> str | None:
    """The sentence about a setting of ``NEEDED`` that has another value; None where it is right.

    Args:
        key: where the user sets it; None for vLLM's own name.
    """
    needed, reason = NEEDED[setting]
    return None if value == needed else f"{key or setting}={value!r}: {reason}; set it to {needed!r}"


def check_settings(values: Mapping[str, object]) -> None:
    """Refuse the first wrong value.

    Args:
        values: by vLLM's name, keys of ``NEEDED``.

    Raises:
        ValueError: naming the setting, its value and the fix.
    """
    for setting, value in values.items():
        if sentence := problem(setting, value):
            raise ValueError(sentence)
