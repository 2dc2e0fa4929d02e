"""Rows of ``verl_softthink.data.sft_rows`` in verl's SFT interface, soft targets and tokens alike.

    data.custom_cls.path=pkg://verl_softthink.training.soft_sft.dataset data.custom_cls.name=SftDataset

Files without target distributions give batches that verl's own engine and loss compute. With them, every row carries
the settings ``data.soft_sft``: verl's trainer hands an engine nothing else of the configuration.
"""

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import Dataset

from verl_softthink.config.base import parse
from verl_softthink.data.sft_rows import IDS, SftRow, read_tables
from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.likelihood.soft_targets import TARGET_IDS, TARGET_WEIGHTS
from verl_softthink.training.soft_sft.settings import SoftSftSettings

#: Settings of the thoughts, one record a row.
SETTINGS = "softthink_soft_sft"


class SftDataset(Dataset):
    """Prompt and response ids with a loss mask, and target distributions where the files have them."""

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
            parquet_files: one or more, as ``write_sft_rows`` writes them.
            tokenizer, processor: unused, since rows hold token ids.
            config: verl's ``data`` node with ``max_length``, ``pad_mode`` and, for target distributions, ``soft_sft``.
            max_samples: rows to read, -1 for all.

        Raises:
            ValueError: a setting that does not fit, or a row that is too long.
        """
        # Files of tokens may stand beside those of targets.
        self._table = read_tables(parquet_files, config, max_samples=max_samples)
        self.slots = self._slots()
        self._settings: dict | None = None
        if self.slots:
            if config.get("soft_sft") is None:
                raise ValueError(
                    f"data.train_files={parquet_files}: rows have target distributions, but data.soft_sft is not set; "
                    "add +softthink=soft_sft"
                )
            values = OmegaConf.to_container(config.soft_sft, resolve=True)
            self._settings = parse(SoftSftSettings, values, "softthink.soft_sft").model_dump()

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, index: int) -> dict[str, object]:
        """[S] ids, positions and loss mask; with targets [S * K] candidates and weights, and the settings."""
        row = SftRow.of_dict(self._table.slice(index, 1).to_pylist()[0])
        before = len(row.prompt)
        ids = torch.tensor([*row.prompt, *row.response])
        item = {
            "input_ids": ids,
            "position_ids": torch.arange(len(ids)),
            "loss_mask": torch.tensor([0] * before + list(row.mask)),
        }
        if self._settings is None:
            return item
        targets, weights = self._targets(row, len(ids))
        return item | {TARGET_IDS: targets, TARGET_WEIGHTS: weights, SETTINGS: self._settings}

    def _slots(self) -> int:
        """K: the most candidates of any thought; 0 where the files hold tokens alone."""
        from pyarrow import compute

        if IDS not in self._table.column_names:
            return 0
        longest = compute.max(compute.list_value_length(compute.list_flatten(self._table[IDS]))).as_py()
        return longest or 0

    def _targets(self, row: SftRow, length: int) -> tuple[Tensor, Tensor]:
        ids = torch.full((length, self.slots), NO_CANDIDATE)
        weights = torch.zeros(length, self.slots)
        for position, (candidates, probabilities) in enumerate(row.targets or (), start=len(row.prompt)):
            ids[position, : len(candidates)] = torch.tensor(candidates, dtype=torch.long)
            weights[position, : len(candidates)] = torch.tensor(probabilities)
        # Weights may be rounded in the file.
        weights = weights / weights.sum(-1, keepdim=True).masked_fill(ids[:, :1] == NO_CANDIDATE, 1.0)
        return ids.flatten(), weights.flatten()
