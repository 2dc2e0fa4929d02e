"""Files damaged in seeded ways: by the byte, by the value, by the kind of file, and by the place where they lie.

Every way takes a file that is sound and leaves another in its place. ``damage`` draws one of those that the kind of
file has, so that a number of cases is a number of seeds.
"""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow
import torch
from pyarrow import parquet
from safetensors import safe_open
from safetensors.torch import save_file

#: What stands in for one value of a document.
ALIENS = (
    *(None, True, 0, -1, 3, 10**30, 10**400, 1e308, -1e308, 2**63, float("nan"), float("inf"), -0.0),
    *("", "x", "\ud800", "\0", "a\nb", "9" * 6000, [], {}, [[]], [1, "x", None], {"": {}}, {"x": [float("nan")]}),
)
FOREIGN = (
    b"\x89PNG\r\n\x1a\n" + bytes(64),
    b"PK\x03\x04" + bytes(64),
    b"\x7fELF" + bytes(64),
    b"PAR1" + bytes(64) + b"PAR1",
    b"{}",
    b"[]",
    b"null",
    b"\n\n\n",
    b"<html></html>\n",
    b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    b"\xff" * 64,
    b'{"a": ' * 5000,
    b"[" * 20000 + b"]" * 20000,
)


def _truncate(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 3, 20))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _flip_start(path: Path, rng: random.Random) -> None:
    """Most formats begin with what says how to read the rest."""
    content = bytearray(path.read_bytes())
    for _ in range(3):
        content[rng.randrange(min(len(content), 400))] = rng.randrange(256)
    path.write_bytes(content)


def _cut_out(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    begin, end = sorted((rng.randrange(len(content)), rng.randrange(len(content))))
    path.write_bytes(content[:begin] + content[end:])


def _append(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.choice((b"\0" * 9, b"x", b"\n{", b"\xff\xfe")))


def _foreign(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.choice(FOREIGN))


def _empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def _directory(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _missing(path: Path, rng: random.Random) -> None:
    path.unlink()


def _loop(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(path)


def _dangling(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _pipe(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _unreadable(path: Path, rng: random.Random) -> None:
    """An address that is not mapped: whoever reads it, root too, gets an error of the operating system."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def _encoding(path: Path, rng: random.Random) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    encoding = rng.choice(("utf-16", "utf-32", "latin-1"))
    path.write_bytes(f"{text}é".encode(encoding, errors="replace"))


BYTES = (_truncate, _flip, _flip_start, _cut_out, _append)
PLACES = (_foreign, _empty, _directory, _missing, _loop, _dangling, _pipe, _unreadable)


def mutated(document: object, rng: random.Random) -> object:
    """A JSON document of which one value is replaced, left out, doubled or renamed."""
    places: list[tuple[object, object]] = []

    def walk(node: object) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(document)
    if not places:
        return rng.choice(ALIENS)
    node, key = rng.choice(places)
    way = rng.randrange(6)
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node, dict):
        node[f"{key}x"] = node.pop(key)
    elif way == 1:
        node.append(node[key])
    else:
        node[key] = rng.choice(ALIENS)
    return document


def _json_value(path: Path, rng: random.Random) -> None:
    path.write_text(json.dumps(mutated(json.loads(path.read_text()), rng)))


def _json_line(path: Path, rng: random.Random) -> None:
    lines = path.read_text().splitlines()
    number = rng.randrange(len(lines))
    lines[number] = json.dumps(mutated(json.loads(lines[number]), rng))
    path.write_text("\n".join(lines) + "\n")


def _tensors(path: Path, rng: random.Random) -> None:
    """One tensor of a safetensors file has another type, shape, value or name, or its metadata another value."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
        metadata = file.metadata()
    name = rng.choice(sorted(tensors))
    tensor = tensors.pop(name)
    way = rng.randrange(9)
    if way == 0:
        tensors[name] = tensor.to(rng.choice((torch.float64, torch.bool, torch.int64, torch.float16, torch.uint8)))
    elif way == 1:
        tensors[name] = tensor[: rng.randrange(len(tensor))].clone() if len(tensor) else tensor
    elif way == 2:
        tensors[name] = tensor[None].clone()
    elif way == 3:
        tensors[name] = torch.full_like(tensor, rng.choice((0, 1))) if tensor.dtype == torch.bool else -tensor - 7
    elif way == 4 and tensor.is_floating_point():
        tensors[name] = torch.full_like(tensor, rng.choice((float("nan"), float("inf"), -float("inf"), 3e38)))
    elif way == 4:
        tensors[name] = torch.full_like(tensor, 1 if tensor.dtype == torch.bool else rng.choice((2**31 - 1, -(2**31))))
    elif way == 5:
        tensors[f"{name}x"] = tensor
    elif way == 6:
        tensors[name] = torch.zeros(0, dtype=tensor.dtype)
    elif metadata:
        key = rng.choice(sorted(metadata))
        metadata[key] = json.dumps(mutated(json.loads(metadata[key]), rng))
        tensors[name] = tensor
    save_file(tensors, path, metadata=metadata)


def _columns(path: Path, rng: random.Random) -> None:
    """One value of a parquet file is replaced in every row, so that its column has one type, or left out."""
    rows = parquet.read_table(path).to_pylist()
    key = rng.choice(sorted(rows[0]))
    way = rng.randrange(4)
    values = ("x", 3, None, [], ["x"], [{"x": 1}], {"x": 1}, float("nan"), b"\xff\xfe", [None], {"role": None})
    for row in rows:
        if way == 0:
            del row[key]
        elif way == 1 and isinstance(row[key], dict):
            row[key][rng.choice(sorted(row[key]))] = None
        else:
            row[key] = values[way * 5 % len(values)] if way == 1 else None
    if way > 1:
        value = rng.choice(values)
        for row in rows:
            row[key] = value
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


Way = Callable[[Path, random.Random], None]
#: The ways of each kind of file, each as often as it is named.
WAYS: dict[str, tuple[Way, ...]] = {
    "safetensors": (*BYTES, *PLACES, *(_tensors,) * 12),
    "json": (*BYTES, *PLACES, _encoding, *(_json_value,) * 10),
    "jsonl": (*BYTES, *PLACES, _encoding, *(_json_line,) * 10),
    "parquet": (*BYTES, *PLACES, *(_columns,) * 8),
    "text": (*BYTES, *PLACES, _encoding),
    "bytes": (*BYTES, *BYTES, *PLACES),
}


def damage(path: Path, kind: str, seed: int) -> str:
    """Damage a file in the way of a seed, and return the way's name."""
    rng = random.Random(f"{kind} {seed}")
    way = rng.choice(WAYS[kind])
    way(path, rng)
    return way.__name__.strip("_")
