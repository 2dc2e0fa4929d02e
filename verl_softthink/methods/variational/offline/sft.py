"""Weighted thoughts in verl's SFT trainer: the data set, and the loss.

    data.custom_cls.path=pkg://verl_softthink.methods.variational.offline.sft data.custom_cls.name=WeightedThoughts
    data.pad_mode=no_padding +data.token_scale=4096

The loss is -(1 / B) sum_rows (w / C) sum_t log pi(token_t), with w the weight of the row and C = ``data.token_scale``:
token sums over a constant, as in Dr. SFT. Each row carries w / C at the response's tokens and 0 at the prompt's as
``softthink_token_weight``; batches without it get verl's own loss.

verl's trainer has no registry of SFT losses: it imports the function by name when it starts, so ``register`` replaces
the function of that name.
"""

import functools
from types import ModuleType

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import Dataset

from verl_softthink.data.sft_rows import PROMPT, RESPONSE, read_tables

#: [P + T] float32: weight over C at the response's tokens, 0 at the prompt's.
TOKEN_WEIGHT = "softthink_token_weight"
_COLUMNS = [PROMPT, RESPONSE, "weight"]


class WeightedThoughts(Dataset):
    """Rows of ``train.parquet``, in verl's SFT interface."""

    def __init__(
        self,
        parquet_files: str | list[str],
        tokenizer: object,
        config: DictConfig,
        processor: object | None = None,
        max_samples: int = -1,
    ):
        """
        Args:
            parquet_files: as ``pipeline.py`` writes them.
            tokenizer, processor: unused, since rows hold token ids.
            config: verl's ``data`` node with ``token_scale``, ``max_length`` and ``pad_mode``.
            max_samples: rows to read, -1 for all.

        Raises:
            ValueError: a setting that does not fit, or a row that is too long.
        """
        if not config.get("token_scale"):
            raise ValueError(
                f"data.token_scale={config.get('token_scale')!r}: the loss divides token sums by a constant; set "
                "+data.token_scale to a number of tokens, e.g. a typical response length"
            )
        self.token_scale = float(config.token_scale)
        self.rows = read_tables(parquet_files, config, columns=_COLUMNS, max_samples=max_samples).to_pylist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """[P + T] each: ids, positions, loss mask, weight per token."""
        row = self.rows[index]
        prompt, response = torch.tensor(row["prompt_ids"]), torch.tensor(row["response_ids"])
        ids = torch.cat((prompt, response))
        mask = (torch.arange(len(ids)) >= len(prompt)).long()
        return {
            "input_ids": ids,
            "position_ids": torch.arange(len(ids)),
            "loss_mask": mask,
            TOKEN_WEIGHT: mask * (row["weight"] / self.token_scale),
        }


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
