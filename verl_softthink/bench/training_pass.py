"""One training pass of verl's FSDP engine for benchmarks: a random model, an engine, a loss and a batch."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from verl_softthink.likelihood.fields import DRAWN, IDS, SETTINGS, SOFT, VALUES

TEMPERATURE = 1.0
PROMPT_TOKENS = 32


@dataclass(frozen=True)
class Sizes:
    """A Llama-style model with random weights, and a batch of equally long sequences."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    sequences: int
    tokens: int  # of each sequence, PROMPT_TOKENS of them prompt
    candidates: int
    repeats: int


def precision() -> str:
    """Of parameters and activations: verl's default, but fp32 on a CPU."""
    from verl.utils.device import get_device_name

    return "fp32" if get_device_name() == "cpu" else "bf16"


def write_model(folder: Path, sizes: Sizes) -> Path:
    """Save a model with random weights into ``folder``."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_value_heads,
        max_position_embeddings=sizes.tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def build_engine(path: Path):
    """An initialised likelihood engine of one process, FSDP 2."""
    from verl.trainer.config import CheckpointConfig
    from verl.utils.device import get_nccl_backend
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine import EngineRegistry

    from verl_softthink.likelihood.engine import MODEL_TYPE

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(
            get_nccl_backend(), store=torch.distributed.HashStore(), rank=0, world_size=1
        )
    dtypes = {"param_dtype": precision(), "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    engine = EngineRegistry.new(
        model_type=MODEL_TYPE,
        backend="fsdp2",
        model_config=HFModelConfig(
            path=str(path),
            load_tokenizer=False,
            model_type=MODEL_TYPE,
            override_config={"attn_implementation": "sdpa"},
            use_remove_padding=False,
            enable_gradient_checkpointing=False,
        ),
        engine_config=FSDPEngineConfig(strategy="fsdp2", use_torch_compile=False, mixed_precision=dtypes),
        optimizer_config=FSDPOptimizerConfig(lr=1e-6, total_training_steps=1),
        checkpoint_config=CheckpointConfig(),
    )
    engine.initialize()
    return engine


def make_loss():
    """verl's PPO loss."""
    from verl.workers.config import FSDPActorConfig, PolicyLossConfig
    from verl.workers.utils.losses import ppo_loss

    config = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        policy_loss=PolicyLossConfig(),
        use_torch_compile=False,
    )
    return partial(ppo_loss, config=config)


def make_batch(sizes: Sizes, settings: dict | None):
    """The batch of verl's trainer, in one micro-batch; with ``settings`` every response position is soft."""
    from verl.utils import tensordict_utils as tu

    generator = torch.Generator().manual_seed(0)
    response = sizes.tokens - PROMPT_TOKENS
    # Distinct candidates: random starts, then steps that never meet within the vocabulary.
    starts = torch.randint(sizes.vocabulary, (sizes.sequences, sizes.tokens, 1), generator=generator)
    ids = (starts + torch.arange(sizes.candidates) * (sizes.vocabulary // sizes.candidates)) % sizes.vocabulary
    sequences, actions = ids[..., 0], ids[:, PROMPT_TOKENS:]
    ones = torch.ones(sizes.sequences, response)
    tensors = {
        "input_ids": sequences,
        "position_ids": torch.arange(sizes.tokens).expand(sizes.sequences, -1),
        "prompts": sequences[:, :PROMPT_TOKENS],
        "responses": sequences[:, PROMPT_TOKENS:],
        "response_mask": ones.long(),
        "loss_mask": ones.long(),
        "old_log_probs": -3.0 * ones,
        "advantages": torch.randn(ones.shape, generator=generator),
    }
    plain = {
        "temperature": TEMPERATURE,
        "use_remove_padding": False,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": sizes.sequences,
        "global_batch_size": sizes.sequences,
    }
    if settings is not None:
        values = torch.randn(actions.shape, generator=generator) - 2.0
        tensors |= {SOFT: ones.bool(), DRAWN: ones.bool(), IDS: actions.int(), VALUES: values}
        plain[SETTINGS] = settings
    jagged = {name: torch.nested.as_nested_tensor(list(rows), layout=torch.jagged) for name, rows in tensors.items()}
    return tu.get_tensordict(jagged, plain)
