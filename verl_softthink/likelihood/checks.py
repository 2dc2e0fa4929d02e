"""What the likelihood engine refuses, as functions of plain values: the configuration is checked before workers start,
and again by the engine itself."""

from collections.abc import Sequence

STRATEGIES = ("fsdp", "fsdp2")


def check_engine(
    *,
    strategy: str,
    use_fused_kernels: bool,
    ulysses_sequence_parallel_size: int,
    mtp: bool = False,
    distillation: bool = False,
    whole_sequences: Sequence[str] = (),
    use_remove_padding: bool = True,
    attention: str = "flash_attention_2",
    role: str = "actor",
) -> None:
    """Check the engine's part of a configuration.

    Args:
        strategy: ``actor_rollout_ref.<role>.strategy``.
        use_fused_kernels: ``actor_rollout_ref.model.use_fused_kernels``.
        ulysses_sequence_parallel_size: ``actor_rollout_ref.<role>.fsdp_config.ulysses_sequence_parallel_size``.
        mtp: ``actor_rollout_ref.model.mtp.enable``.
        distillation: ``distillation.enabled``.
        whole_sequences: settings in use under which a process must hold whole sequences.
        use_remove_padding: ``actor_rollout_ref.model.use_remove_padding``.
        attention: ``actor_rollout_ref.model.override_config.attn_implementation``.
        role: "actor" or "ref", for the keys in messages.

    Raises:
        ValueError: with one line per refused key: its value, the reason and the fix.
    """
    prefix = f"actor_rollout_ref.{role}"
    refused = []
    if strategy not in STRATEGIES:
        refused.append(
            f"{prefix}.strategy={strategy!r}: soft traces are scored by the FSDP engine; set it to 'fsdp2' or 'fsdp'"
        )
    if use_fused_kernels:
        refused.append(
            "actor_rollout_ref.model.use_fused_kernels=True: fused kernels return no logits, which the law's density "
            "needs; set it to False"
        )
    if ulysses_sequence_parallel_size > 1:
        ulysses = f"{prefix}.fsdp_config.ulysses_sequence_parallel_size={ulysses_sequence_parallel_size} "
        if whole_sequences:
            refused.append(f"{ulysses}slices sequences, and {', '.join(whole_sequences)} needs whole ones; set it to 1")
        if not use_remove_padding:
            refused.append(f"{ulysses}slices packed sequences; set actor_rollout_ref.model.use_remove_padding=True")
        if not attention.startswith("flash_attention"):
            refused.append(
                f"{ulysses}exchanges positions in flash attention only, and attention {attention!r} would see one "
                "rank's slice; set actor_rollout_ref.model.override_config.attn_implementation=flash_attention_2"
            )
    if mtp:
        refused.append(
            "actor_rollout_ref.model.mtp.enable=True: extra prediction heads look up token ids where mixtures were "
            "fed; set it to False"
        )
    if distillation:
        refused.append(
            "distillation.enabled=True: a teacher scores tokens, not mixtures, and its top-k loss replaces the "
            "log-probs; set it to False"
        )
    if refused:
        raise ValueError("\n".join(refused))


def check_model(config: object) -> None:
    """Check a Hugging Face model configuration.

    Raises:
        ValueError: when the architecture reads more from token ids than one embedding each.
    """
    text = config.get_text_config()
    name = f"{config.model_type} ({type(config).__name__})"
    if getattr(text, "hidden_size_per_layer_input", 0):
        raise ValueError(
            f"{name}: hidden_size_per_layer_input={text.hidden_size_per_layer_input}, so every layer reads the token "
            "ids again, and a mixture has none; use a model with one input embedding"
        )
    rope = getattr(text, "rope_parameters", None) or {}
    if "mrope_section" in rope:
        raise ValueError(
            f"{name}: rope_parameters.mrope_section={rope['mrope_section']} means 3-D position ids, which traces do "
            "not cover; use a text-only model"
        )


def check_slices(readers: Sequence[str]) -> None:
    """Refuse what reads whole sequences in a micro-batch whose sequences are sliced across Ulysses ranks.

    Args:
        readers: what the micro-batch asks for that does.

    Raises:
        ValueError: naming it.
    """
    if readers:
        raise ValueError(
            f"the batch asks for {', '.join(readers)}, which needs whole sequences: set "
            "ulysses_sequence_parallel_size=1 for actor and ref, or turn it off"
        )


def check_batch(switches: dict[str, bool], position_dimensions: int) -> None:
    """Check what one micro-batch asks for.

    Args:
        switches: switches of the batch by name, all of which must be off.
        position_dimensions: dimensions of ``position_ids``, the batch included.

    Raises:
        ValueError: naming what is not supported.
    """
    for name, on in switches.items():
        if on:
            raise ValueError(f"batch.extra_info[{name!r}]=True is not supported with soft traces; set it to False")
    if position_dimensions != 2:
        raise ValueError(
            f"position_ids has {position_dimensions} dimensions (multimodal rope), which traces do not cover; use a "
            "text-only model and prompts"
        )
