"""Prefixes that the soft step itself has drawn, one of every law, and what a stranger may make of them."""

import random
from dataclasses import dataclass, replace

import numpy as np
import torch

from verl_softthink.config.settings import LawSettings
from verl_softthink.rollout.embedding import TableEmbedding
from verl_softthink.rollout.prefix import encode_prefix
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import soft_step
from verl_softthink.trace import unpack_rows

VOCABULARY, HIDDEN, WIDTH, LENGTH, MARKER = 40, 6, 6, 12, [3, 4]
TABLE = torch.randn(VOCABULARY, HIDDEN, generator=torch.Generator().manual_seed(0))
PROMPT = [5, 6, 7]
#: Law and thinking budget: inside a thought, in a forced marker, in an answer.
CASES = [
    ({"name": "gumbel", "tau": 0.5}, 20),
    ({"name": "concrete", "tau": 1.0}, 11),
    ({"name": "gaussian"}, 9),
    ({"name": "gaussian", "normalise_over": "candidates", "fed": "seed"}, 20),
    ({"name": "gaussian", "normalise_over": "candidates", "fed": "seed", "covariance": "candidates"}, 20),
    ({"name": "dirichlet", "concentration": 2.0}, 7),
    ({"name": "multiplex", "draws": 3}, 20),
    ({"name": "mixture_of_inputs"}, 20),
    ({"name": "deterministic"}, 8),
    ({"name": "discrete"}, 20),
    ({"name": "gumbel_reference"}, 5),
]
ODD_FLOATS = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, -1e30, -1.0, 1e-45, 1e5)
ODD_INTEGERS = (-(2**31), 2**31 - 1, -2, VOCABULARY, 10**6)
ODD_OBJECTS = (None, True, -1, 0, 1, 2**70, 1.5, "", "12", "\ud800", "x" * 10**5, b"", [], [0] * 10**5, {}, {"a": {}})


@dataclass(frozen=True)
class Sent:
    """One request: its settings with an encoded prefix, and its prompt."""

    settings: dict
    prompt: list[int]


def state_of(case: int) -> SoftState:
    fed = (HIDDEN, torch.float32)
    return SoftState(slots=1, length=2 * LENGTH, width=WIDTH, device=torch.device("cpu"), fed=fed)


def resolved(settings: dict):
    return resolve(settings, max_tokens=2 * LENGTH, width=WIDTH, carries_embeddings=True, tokenize=None)


def drawn(case: int) -> Sent:
    """A request that continues what a first one of the same settings has drawn."""
    law, budget = CASES[case]
    settings = {
        "law": law,
        "filter": {"top_k": 4, "max_topk": 4},
        "phase": {"end_of_thinking": MARKER, "budget": budget},
        "seed": case,
    }
    request, state, embedding = resolved(settings), state_of(case), TableEmbedding(TABLE)
    state.add("r", request)
    generator = torch.Generator().manual_seed(case)
    rows, tokens = [], []
    for index in range(LENGTH):
        logits = 2 * torch.randn(1, VOCABULARY, generator=generator)
        slot, at = torch.tensor([state.slot("r")]), torch.tensor([index])
        step = soft_step(state, logits, slot, at, embedding)
        token = step.token if bool(step.overrides) else logits.argmax(-1)
        state.phases.write_sampled(slot, at, token)
        tokens.append(int(token))
        rows.append(step.rows[:, : state.row_columns("r")])
    trace = unpack_rows(torch.cat(rows).numpy())
    if request.rebuilds_embedding:
        trace = replace(trace, seed=torch.full((LENGTH,), case))
    return Sent(settings | {"prefix": encode_prefix(trace, LawSettings(**law))}, PROMPT + tokens)


def corrupted(valid: list[Sent], random_: random.Random) -> Sent:
    """One of the requests with something wrong about its prefix; by chance what is changed may not matter."""
    sent = random_.choice(valid)
    prefix = dict(sent.settings["prefix"])
    change = random_.choice((_flip_bits, _cut, _odd_number, _another_type, _odd_object, _foreign, _move_rows, _keys))
    changed = change(prefix, random_, valid)
    prompt = list(sent.prompt)
    if random_.random() < 0.05:
        at = random_.randrange(len(prompt))
        prompt[at] = random_.randrange(VOCABULARY)
    return Sent(sent.settings | {"prefix": changed}, prompt)


def _flip_bits(prefix, random_, valid):
    key = "seeds" if prefix["seeds"] and random_.random() < 0.2 else "rows"
    data = bytearray(prefix[key])
    for _ in range(random_.choice((1, 1, 2, 8))):
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
    return prefix | {key: bytes(data)}


def _cut(prefix, random_, valid):
    rows = prefix["rows"]
    at = random_.randrange(len(rows))
    columns = len(rows) // prefix["length"]
    whole = random_.randrange(LENGTH) * columns
    return prefix | random_.choice(
        ({"rows": rows[:at]}, {"rows": rows[at:]}, {"rows": rows + rows[:at]}, {"rows": rows[:whole]})
        + ({"length": random_.randrange(-2, 30)}, {"rows": rows[:whole], "length": max(1, whole // columns)})
    )


def _odd_number(prefix, random_, valid):
    table = np.frombuffer(prefix["rows"], dtype=np.int32).reshape(prefix["length"], -1).copy()
    at = random_.randrange(len(table)), random_.randrange(table.shape[1])
    if random_.random() < 0.7:
        table.view(np.float32)[at] = random_.choice(ODD_FLOATS)
    else:
        table[at] = random_.choice(ODD_INTEGERS)
    return prefix | {"rows": table.tobytes()}


def _another_type(prefix, random_, valid):
    table = np.frombuffer(prefix["rows"], dtype=np.int32)
    dtype = random_.choice((np.int64, np.int16, np.float64, np.float16, ">i4"))
    with np.errstate(over="ignore", invalid="ignore"):
        return prefix | {"rows": table.view(np.float32).astype(dtype).tobytes()}


def _odd_object(prefix, random_, valid):
    odd = random_.choice(ODD_OBJECTS)
    return random_.choice((prefix | {random_.choice(list(prefix)): odd}, odd))


def _foreign(prefix, random_, valid):
    other = random_.choice(valid).settings["prefix"]
    return prefix | {key: other[key] for key in random_.sample(list(prefix), random_.randrange(1, 4))}


def _move_rows(prefix, random_, valid):
    table = np.frombuffer(prefix["rows"], dtype=np.int32).reshape(prefix["length"], -1)
    if random_.random() < 0.5:
        order = list(range(len(table)))
        random_.shuffle(order)
        return prefix | {"rows": table[order].tobytes()}
    return prefix | {"rows": np.roll(table, random_.randrange(1, table.shape[1]), axis=1).tobytes()}


def _keys(prefix, random_, valid):
    key = random_.choice(list(prefix))
    swapped = prefix | {"rows": prefix["seeds"], "seeds": prefix["rows"]}
    law = prefix["law"] | {random_.choice(list(prefix["law"])): random_.choice(ODD_OBJECTS)}
    without = {name: value for name, value in prefix.items() if name != key}
    return random_.choice((swapped, without, prefix | {"x" * 10**5: 1}, prefix | {"law": law}))
