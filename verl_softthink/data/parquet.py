"""verl's parquet schema for reinforcement learning data, in one place."""

from pathlib import Path

from verl_softthink.data.guarded_reward import check_ground_truth
from verl_softthink.files.writing import whole_file

Message = dict[str, str]


def training_row(
    *, source: str, messages: list[Message], answer: str, split: str, index: int, question: str
) -> dict[str, object]:
    """One row as verl's ``RLHFDataset`` and reward loop read it.

    Args:
        source: name of the data set, by which verl chooses its own scorer; validation metrics carry it
            (``val-core/<source>/acc/mean@1``).
        messages: chat messages with ``role`` and ``content``.
        answer: what the reward function gets as ``ground_truth``.

    Raises:
        RewardSetupError: no answer.
    """
    return {
        "data_source": source,
        "prompt": messages,
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": check_ground_truth(answer)},
        "extra_info": {"split": split, "index": index, "question": question},
    }


def write_rows(rows: list[dict[str, object]], path: Path) -> None:
    """Write rows to one parquet file, atomically: a reader sees the old file or the whole new one.

    Raises:
        FileError: it cannot be written.
        ValueError: when there are no rows.
    """
    import pyarrow
    from pyarrow import parquet

    if not rows:
        raise ValueError(f"no rows for {path}: ask for at least one problem")
    with whole_file(path, pyarrow.ArrowException) as partial:
        parquet.write_table(pyarrow.Table.from_pylist(rows), partial)
