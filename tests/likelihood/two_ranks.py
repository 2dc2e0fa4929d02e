"""What one rank of a data-parallel run does; spawned by test_two_ranks.py."""

from pathlib import Path

import torch
import torch.distributed
from verl.utils import tensordict_utils as tu

from .runs import actor_config, build, policy_loss
from .samples import jagged, make_batch, random_samples, settings

STEPS = 2


def run(rank: int, world: int, store: Path, model: Path, results: Path) -> None:
    """Train ``STEPS`` steps, padded and then packed; rank 0 saves loss and gradient norm of every step."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    records = {packed: train(rank, world, model, packed) for packed in (False, True)}
    if rank == 0:
        torch.save(records, results)
    torch.distributed.destroy_process_group()


def train(rank: int, world: int, model: Path, packed: bool) -> list[tuple[float, float]]:
    """Losses and gradient norms of this rank's share of the batch, summed as verl's workers do."""
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    batch = make_batch(samples, values, packed=packed, micro_batch=1)
    # Log-probs of an old policy and of a reference that are neither the current ones.
    batch["old_log_probs"] = batch["ref_log_prob"] = jagged([torch.full((len(s.response),), -3.0) for s in samples])
    share = len(samples) // world
    batch = tu.index_select_tensor_dict(batch, list(range(rank * share, (rank + 1) * share)))
    engine = build(model, packed=packed)
    loss = policy_loss(actor_config(kl_loss_coef=0.1))
    records = []
    for _ in range(STEPS):
        with engine.train_mode():
            output = engine.train_batch(batch, loss)
        total = torch.tensor(sum(output["loss"]))
        torch.distributed.all_reduce(total, op=torch.distributed.ReduceOp.SUM)
        records.append((total.item() / world, output["metrics"]["grad_norm"]))
    return records
