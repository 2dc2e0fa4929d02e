"""A column ``agent_name`` of the data, which would replace the recipe's agent loop row by row, wherever data come from.

Local parquet files are looked at before anything starts (``data_check.py``). Files elsewhere, and of other formats, are
downloaded and read by verl, so they are looked at once verl has loaded them, still before a worker starts. What a data
set of the user's own makes row by row is looked at when it is sent to the agent loops.
"""

from collections.abc import Iterable

from datasets import Dataset
from omegaconf import DictConfig
from torch.utils.data import Dataset as TorchDataset

AGENT = "agent_name"


def replaced_loop(where: str, values: Iterable[object], loop: str) -> str | None:
    """A sentence where values of the column name another agent loop than the recipe's.

    Args:
        where: the data, for the sentence.
        loop: ``actor_rollout_ref.rollout.agent.default_agent_loop``.
    """
    others = sorted({str(value) for value in values} - {loop})
    if not others:
        return None
    return (
        f"{where} has a column {AGENT} with {', '.join(map(repr, others))}, which would replace "
        f"actor_rollout_ref.rollout.agent.default_agent_loop={loop!r}; remove the column"
    )


def check_loaded(config: DictConfig, **datasets: TorchDataset) -> None:
    """Refuse data sets of verl's whose rows choose another agent loop; others have no table to look at.

    Args:
        config: of verl.
        datasets: verl's ``RLHFDataset``, or the user's own, by the key of its files under ``data``.

    Raises:
        ValueError: naming the key, the files and the loops.
    """
    loop = config.actor_rollout_ref.rollout.agent.default_agent_loop
    for key, dataset in datasets.items():
        table = getattr(dataset, "dataframe", None)
        if isinstance(table, Dataset) and AGENT in table.column_names:
            problem = replaced_loop(f"data.{key}={config.data[key]!s}", table.unique(AGENT), loop)
            if problem is not None:
                raise ValueError(problem)
