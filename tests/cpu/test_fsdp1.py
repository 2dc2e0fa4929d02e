"""FSDP 1 on two gloo ranks: the second one begins without weights and takes the first one's."""

import torch
import torch.distributed
from support.ranks import RANKS, run_on_ranks
from torch import nn
from torch.distributed.fsdp import CPUOffload
from torch.distributed.fsdp.wrap import ModuleWrapPolicy

from verl_softthink.cpu.fsdp1 import CPUFullyShardedDataParallel


class Model(nn.Module):
    """Two wrapped layers and a buffer that no checkpoint holds."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.register_buffer("scale", torch.rand(4), persistent=False)

    def forward(self, values):
        return self.layers(values) * self.scale


def on_rank(rank: int, world: int, rendezvous: str, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    torch.manual_seed(rank)
    with torch.device("meta" if rank else "cpu"):
        model = Model()
    values = torch.ones(2, 4)
    if rank == 0:
        torch.save(model(values).detach(), f"{folder}/alone")
    sharded = CPUFullyShardedDataParallel(
        model,
        sync_module_states=True,
        auto_wrap_policy=ModuleWrapPolicy({nn.Linear}),
        device_id=torch.device("cpu"),
        cpu_offload=CPUOffload(offload_params=True),
        use_orig_params=True,
    )
    torch.save(sharded(values).detach(), f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


def test_every_rank_has_the_first_one_s_weights_and_buffers(tmp_path):
    run_on_ranks(on_rank, str(tmp_path / "rendezvous"), str(tmp_path))
    alone = torch.load(tmp_path / "alone")
    for rank in range(RANKS):
        torch.testing.assert_close(torch.load(tmp_path / str(rank)), alone)
