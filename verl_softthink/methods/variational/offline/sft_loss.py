"""The weighted loss of verl's SFT trainer: -(1 / B) sum_rows (w / C) sum_t log pi(token_t), for batches that carry
token weights; any other batch gets verl's own loss.

verl's trainer has no registry of SFT losses. It imports the function by name when it starts, so the name is where ours
comes in.
"""

import functools
from types import ModuleType

import torch

#: [P + T] float32: weight over C at the response's tokens, 0 at the prompt's.
TOKEN_WEIGHT = "softthink_token_weight"


def register(losses: ModuleType) -> None:
    """``verl.workers.utils.losses``: extend ``sft_loss``."""
    verl_loss = losses.sft_loss

    @functools.wraps(verl_loss)
    def sft_loss(config, model_output, data, dp_group=None):
        if TOKEN_WEIGHT not in data:
            return verl_loss(config=config, model_output=model_output, data=data, dp_group=dp_group)
        # Position t of the model's output scores token t + 1.
        weights = torch.roll(data[TOKEN_WEIGHT].values(), shifts=-1, dims=0)
        log_probs = model_output["log_probs"].values()
        # The mean over the global batch; gradients are averaged over dp_size ranks afterwards.
        return -(weights * log_probs).sum() / data["global_batch_size"] * data["dp_size"], {}

    losses.sft_loss = sft_loss
