"""Rows of verl's TransferQueue as dictionaries, and back: what the driver needs to build the rows of a tree."""

import transfer_queue as tq
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from verl_softthink.methods.attnrl.samples import Row
from verl_softthink.rollout.trace_fields import TRACE_ROW_FIELDS

#: What a trained row is made of: everything that verl's later passes, metrics and dumps read of a sample.
ROW_FIELDS = (
    *("prompts", "responses", "response_mask", "loss_mask", "input_ids", "position_ids"),
    *("rm_scores", "rollout_log_probs", "uid", "reward_model", "data_source", "extra_fields", "num_turns"),
    *TRACE_ROW_FIELDS,
)


def read(keys: list[str], partition: str, fields: tuple[str, ...]) -> list[Row]:
    """The rows of ``keys``, in their order, with those of ``fields`` that the queue has."""
    data = tq.kv_batch_get(keys=keys, partition_id=partition, select_fields=list(fields))
    columns = {name: _values(column) for name, column in data.items()}
    return [{name: column[row] for name, column in columns.items()} for row in range(len(keys))]


def write(batch: KVBatchMeta, rows: list[Row]) -> KVBatchMeta:
    """Put one row of fields beside each of the batch's keys; new keys get the batch's tags."""
    written = tq.kv_batch_put(
        keys=batch.keys,
        partition_id=batch.partition_id,
        fields=list_of_dict_to_tensordict(rows),
        tags=batch.tags,
    )
    batch.fields = written.fields
    return batch


def clear(keys: list[str], partition: str) -> None:
    """Remove rows; none is no request."""
    if keys:
        tq.kv_clear(keys=keys, partition_id=partition)


def _values(column) -> list:
    if isinstance(column, Tensor):
        return list(column.unbind())
    # Wrapped or not, depending on the storage backend.
    return [getattr(value, "data", value) for value in column]
