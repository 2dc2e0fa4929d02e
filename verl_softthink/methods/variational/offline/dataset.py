"""Weighted traces for verl's SFT trainer:

    data.custom_cls.path=pkg://verl_softthink.methods.variational.offline.dataset data.custom_cls.name=WeightedTraces
    data.pad_mode=no_padding +data.token_scale=4096

Each row carries ``softthink_token_weight``: its weight over the constant C = ``data.token_scale`` at the response's
tokens, 0 at the prompt's. ``sft_loss.py`` sums it with the log-probs, which is Dr. SFT: token sums over a constant.
"""

import torch
from omegaconf import DictConfig, ListConfig
from torch import Tensor
from torch.utils.data import Dataset

from verl_softthink.methods.variational.offline.sft_loss import TOKEN_WEIGHT


class WeightedTraces(Dataset):
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
            tokenizer, processor: not needed, rows hold token ids.
            config: verl's ``data`` node with ``token_scale``, ``max_length`` and ``pad_mode``.
            max_samples: rows to read, -1 for all.

        Raises:
            ValueError: a setting that does not fit, or a row that is too long.
        """
        from pyarrow import parquet

        if config.pad_mode != "no_padding":
            raise ValueError(f"data.pad_mode={config.pad_mode!r}: weighted traces are not padded; set 'no_padding'")
        if not config.get("token_scale"):
            raise ValueError(
                f"data.token_scale={config.get('token_scale')!r}: the loss divides token sums by a constant; set "
                "+data.token_scale to a number of tokens, e.g. a usual response length"
            )
        self.token_scale = float(config.token_scale)
        files = list(parquet_files) if isinstance(parquet_files, list | ListConfig) else [parquet_files]
        self.rows = [row for file in files for row in parquet.read_table(file, columns=_COLUMNS).to_pylist()]
        if max_samples > 0:
            self.rows = self.rows[:max_samples]
        longest = max(len(row["prompt_ids"]) + len(row["response_ids"]) for row in self.rows)
        if longest > config.max_length:
            raise ValueError(
                f"data.max_length={config.max_length} is below the longest row's {longest} tokens; raise it, or "
                "sample shorter traces"
            )

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


_COLUMNS = ["prompt_ids", "response_ids", "weight"]
