"""What one rank of a data-parallel scoring pass does; spawned by test_two_ranks.py."""

from pathlib import Path

import torch
import torch.distributed
from likelihood.runs import build
from likelihood.samples import random_samples, settings
from verl.utils import tensordict_utils as tu

from verl_softthink.methods.repro.fields import NO_ANSWER, REQUEST, SURROGATE

from .test_single_pass import LEAD_IN, prepared

#: The first rank's two responses have more answer tokens than one forward pass holds, the other rank's have none.
ANSWERS = [list(range(30)), list(range(30)), [NO_ANSWER], [NO_ANSWER]]


def score(rank: int, world: int, model: Path) -> list[torch.Tensor]:
    """Likelihoods of this rank's share of four responses."""
    batch = prepared(random_samples("gumbel", settings("gumbel")), packed=False, answers=ANSWERS, micro_batch=2)
    tu.assign_non_tensor(batch, **{REQUEST: {"segments": 5, "lead_in": LEAD_IN}})
    share = len(ANSWERS) // world
    batch = tu.index_select_tensor_dict(batch, list(range(rank * share, (rank + 1) * share)))
    engine = build(model)
    with engine.eval_mode():
        return list(engine.infer_batch(batch)["model_output"][SURROGATE].unbind())


def run(rank: int, world: int, store: Path, model: Path, results: Path) -> None:
    """Score, and save."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    torch.save(score(rank, world, model), results.with_suffix(f".{rank}"))
    torch.distributed.destroy_process_group()
