"""Build verl's engine and run batches through it."""

from functools import partial
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor
from verl.trainer.config import CheckpointConfig
from verl.workers.config import (
    FSDPActorConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    PolicyLossConfig,
)
from verl.workers.engine import BaseEngine, EngineRegistry
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from verl_softthink.likelihood.engine import MODEL_TYPE

STOCK = "language_model"
FP32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def build(path: Path, *, model_type: str = MODEL_TYPE, strategy: str = "fsdp2", packed: bool = False, **options):
    """An initialised engine; ``options`` go to the model config or to the engine config, whichever knows them."""
    load_tokenizer = options.pop("load_tokenizer", False)
    model_fields = {name: options.pop(name) for name in list(options) if name in HFModelConfig.__dataclass_fields__}
    model_config = HFModelConfig(
        path=str(path),
        load_tokenizer=load_tokenizer,
        model_type=model_type,
        use_remove_padding=packed,
        **{
            "override_config": {"attn_implementation": "sdpa"},
            "enable_gradient_checkpointing": False,
            **model_fields,
        },
    )
    engine_config = FSDPEngineConfig(
        strategy=strategy,
        **{"use_torch_compile": False, "use_orig_params": True, "mixed_precision": FP32, **options},
    )
    engine = EngineRegistry.new(
        model_type=model_type,
        backend=strategy,
        model_config=model_config,
        engine_config=engine_config,
        optimizer_config=FSDPOptimizerConfig(lr=1e-3, total_training_steps=10),
        checkpoint_config=CheckpointConfig(),
    )
    engine.initialize()
    return engine


def actor_config(strategy: str = "fsdp2", **overrides) -> FSDPActorConfig:
    """verl's actor configuration, with its KL loss on unless an override says otherwise."""
    options = {"policy_loss": PolicyLossConfig(), "use_kl_loss": True} | overrides
    return FSDPActorConfig(
        strategy=strategy, rollout_n=1, ppo_micro_batch_size_per_gpu=2, use_torch_compile=False, **options
    )


def weighted_log_probs(model_output, data, dp_group=None):
    """A loss that gives every response position its own weight: the advantage."""
    log_probs = no_padding_2_padding(model_output["log_probs"], data)
    weights = data["advantages"].to_padded_tensor(0.0)
    return (log_probs * weights * data["response_mask"].to_padded_tensor(0)).sum(), {}


def policy_loss(config: FSDPActorConfig):
    """verl's PPO loss."""
    return partial(ppo_loss, config=config)


def infer(engine: BaseEngine, batch) -> list[torch.Tensor]:
    """Log-probs of the responses, one tensor per sample, as ``compute_log_prob`` gives them."""
    with engine.eval_mode():
        output = engine.infer_batch(batch)["model_output"]["log_probs"]
    return responses_of(output, batch)


def responses_of(output: torch.Tensor, batch) -> list[torch.Tensor]:
    """Cut [S] rows of model output down to the positions that score the response."""
    lengths = batch["response_mask"].offsets().diff().tolist()
    return [row[-length - 1 : -1] for row, length in zip(output.unbind(), lengths, strict=True)]


def train(engine: BaseEngine, batch, loss) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss of the batch and full gradients by parameter name; no optimiser step."""
    with engine.train_mode():
        engine.optimizer_zero_grad()
        output = engine.forward_backward_batch(batch, loss)
        gradients = {
            name.replace("_fsdp_wrapped_module.", ""): _full(parameter.grad)
            for name, parameter in engine.module.named_parameters()
        }
    return sum(output["loss"]), gradients


def _full(gradient: torch.Tensor) -> torch.Tensor:
    return (gradient.full_tensor() if isinstance(gradient, DTensor) else gradient).clone()
