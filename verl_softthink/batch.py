"""Rows of verl's TransferQueue: how they are named, which are padding, and how fields are read and written.

verl names a row ``{prompt uid}_{session}_{index}``: the responses to one prompt are its sessions, and an agent loop may
return several rows for one response. Batches are padded with copies of rows, whose tags say so.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
import transfer_queue as tq
from tensordict import NonTensorData, TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

#: Fields of one row by name.
Row = dict[str, object]


def is_padding(tag: Mapping) -> bool:
    """Whether a row's tag marks it as one of verl's synthetic padding rows."""
    return tag.get("is_padding", False)


def real_keys(batch: KVBatchMeta) -> list[str]:
    """Keys of the batch without verl's padding rows."""
    return [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not is_padding(tag)]


def prompt_of(key: str) -> str:
    """The prompt's uid in a row's key."""
    return key.rsplit("_", 2)[0]


def session_of(key: str) -> int:
    """The number of the response among its prompt's in a row's key."""
    return int(key.rsplit("_", 2)[1])


def prompt_numbers(keys: Iterable[str]) -> Tensor:
    """[N] int64 in [0, N): equal for responses to one prompt, counted in the order in which prompts appear."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(prompt_of(key), len(numbers)) for key in keys], dtype=torch.int64)


def jagged(rows: Sequence[Tensor]) -> Tensor:
    """A jagged nested tensor of N rows."""
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def values_of(column: Tensor | Iterable) -> list:
    """The rows of a column: tensors, or Python objects, which some storage back ends wrap."""
    if isinstance(column, Tensor):
        return list(column.unbind())
    return [getattr(value, "data", value) for value in column]


def rows_of(data: TensorDict) -> list[Row]:
    """The rows of a batch of prompts as dictionaries; what belongs to the whole batch stands in each."""
    columns = {name: _column(data.get(name), len(data)) for name in data.keys()}  # noqa: SIM118 (no mapping)
    return [{name: column[row] for name, column in columns.items()} for row in range(len(data))]


def of_rows(rows: Sequence[Row]) -> TensorDict:
    """A batch of N rows, which have the same fields."""
    return list_of_dict_to_tensordict(list(rows))


def _column(column: object, rows: int) -> list:
    if isinstance(column, NonTensorData):
        return [column.data] * rows
    return values_of(column)


def get(keys: Sequence[str], partition: str, fields: Sequence[str]) -> TensorDict:
    """The named fields of the rows of ``keys``, in their order."""
    return tq.kv_batch_get(keys=list(keys), partition_id=partition, select_fields=list(fields))


def read(keys: Sequence[str], partition: str, fields: Sequence[str]) -> list[Row]:
    """The rows of ``keys`` as dictionaries, with those of ``fields`` that the queue has."""
    columns = {name: values_of(column) for name, column in get(keys, partition, fields).items()}
    return [{name: column[row] for name, column in columns.items()} for row in range(len(keys))]


def put(batch: KVBatchMeta, fields: Mapping[str, Sequence[Tensor]]) -> KVBatchMeta:
    """Write jagged fields, a tensor for each row of the batch; its tags and settings stay."""
    written = put_rows(batch.keys, batch.partition_id, fields)
    batch.fields = written.fields
    return batch


def put_rows(keys: Sequence[str], partition: str, fields: Mapping[str, Sequence[Tensor]]) -> KVBatchMeta:
    """Write jagged fields, a tensor for each of ``keys``, which may be some of a batch's rows."""
    columns = {name: jagged(rows) for name, rows in fields.items()}
    return tq.kv_batch_put(keys=list(keys), partition_id=partition, fields=TensorDict(columns, batch_size=len(keys)))


def write(batch: KVBatchMeta, rows: Sequence[Row]) -> KVBatchMeta:
    """Put one row of fields beside each of the batch's keys; new keys get the batch's tags."""
    written = tq.kv_batch_put(
        keys=batch.keys,
        partition_id=batch.partition_id,
        fields=list_of_dict_to_tensordict(list(rows)),
        tags=batch.tags,
    )
    batch.fields = written.fields
    return batch


def clear(keys: Sequence[str], partition: str) -> None:
    """Remove rows; none is no request."""
    if keys:
        tq.kv_clear(keys=list(keys), partition_id=partition)
