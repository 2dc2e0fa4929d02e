"""verl's TransferQueue within one process: the same calls on a dictionary, columns packed as its storage packs them."""

import torch
from tensordict import NonTensorData, NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta


class MemoryQueue:
    """Rows by key; ``tags`` likewise."""

    def __init__(self):
        self.rows: dict[str, dict] = {}
        self.tags: dict[str, dict] = {}

    def kv_batch_put(self, keys, partition_id, fields=None, tags=None):
        columns = {} if fields is None else {name: _split(fields.get(name)) for name in fields.keys()}  # noqa: SIM118
        for number, key in enumerate(keys):
            self.rows.setdefault(key, {}).update({name: column[number] for name, column in columns.items()})
            self.tags.setdefault(key, {}).update(tags[number] if tags else {})
        names = sorted({name for key in keys for name in self.rows[key]})
        return KVBatchMeta(
            keys=list(keys), tags=[self.tags[key] for key in keys], partition_id=partition_id, fields=names
        )

    def kv_batch_get(self, keys, partition_id, select_fields=None):
        rows = [self.rows[key] for key in keys]
        common = set.intersection(*(set(row) for row in rows))
        names = common if select_fields is None else [name for name in select_fields if name in common]
        return TensorDict({name: _pack([row[name] for row in rows]) for name in names}, batch_size=len(keys))

    def kv_clear(self, keys, partition_id):
        for key in keys:
            self.rows.pop(key)
            self.tags.pop(key, None)


def _split(column) -> list:
    if isinstance(column, torch.Tensor):
        return list(column.unbind())
    return [value.data if isinstance(value, NonTensorData) else value for value in column]


def _pack(values: list):
    if not all(isinstance(value, torch.Tensor) for value in values):
        return NonTensorStack(*values)
    if values[0].dim() == 0:
        return torch.stack(values)
    return torch.nested.as_nested_tensor(values, layout=torch.jagged)
