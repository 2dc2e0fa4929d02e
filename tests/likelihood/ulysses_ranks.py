"""What one rank of a Ulysses group does; spawned by test_ulysses.py."""

from pathlib import Path

import pytest
import torch
import torch.distributed
from support.ulysses_on_cpu import ATTENTION
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.fields import SETTINGS
from verl_softthink.likelihood.shared_prefix import SHARED_PREFIX

from .runs import build, infer, train, weighted_log_probs
from .samples import make_batch, random_samples, settings

LAWS = ("gumbel", "concrete", "discrete")

#: What reads whole sequences, and a batch that asks for it.
REFUSED = {
    "softthink.likelihood.positions_at_once": lambda data: tu.assign_non_tensor(
        data, **{SETTINGS: settings("gumbel") | {"positions_at_once": 4}}
    ),
    SHARED_PREFIX: lambda data: tu.assign_non_tensor(data, **{SHARED_PREFIX: "dedup"}),
}


def batch(law: str, micro_batch: int, **options):
    values = settings(law)
    return make_batch(random_samples(law, values), values, micro_batch=micro_batch, **options)


def run(rank: int, world: int, store: Path, model: Path, results: Path) -> None:
    """Score and train every law with sequences sliced over all ranks; each rank saves what it got."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    engine = build(
        model,
        packed=True,
        ulysses_sequence_parallel_size=world,
        override_config={"attn_implementation": ATTENTION},
    )
    records = {}
    for law in LAWS:
        for micro_batch in (1, 4):
            data = batch(law, micro_batch, packed=True)
            loss, gradients = train(engine, data, weighted_log_probs)
            records[law, micro_batch] = infer(engine, data), loss, gradients
    for name, change in REFUSED.items():
        with pytest.raises(ValueError, match="needs whole sequences: set ulysses_sequence_parallel_size=1") as error:
            infer(engine, change(batch("gumbel", 1, packed=True)))
        assert name in str(error.value)
    torch.save(records, results / f"{rank}.pt")
    torch.distributed.destroy_process_group()
