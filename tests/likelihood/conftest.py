"""verl on a CPU, one gloo process, and tiny models written once."""

import os

# Read by verl when it is imported.
os.environ.setdefault("VERL_PLATFORM", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch.distributed

from .models import write_model


@pytest.fixture(scope="session", autouse=True)
def process_group(tmp_path_factory):
    """A process group of one, as verl's workers have; another folder's tests may have made it already."""
    if torch.distributed.is_initialized():
        yield
        return
    store = tmp_path_factory.mktemp("store") / "file"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    """Path of a tiny random model by architecture and tying, written on first use."""
    root = tmp_path_factory.mktemp("models")

    def path(architecture: str, *, tied: bool = False):
        folder = root / f"{architecture}-{'tied' if tied else 'untied'}"
        if not folder.exists():
            write_model(folder, architecture, tied=tied)
        return folder

    return path


@pytest.fixture(scope="session")
def shared_engine(model_path, process_group):
    """One engine for padded and one for packed batches, for tests that never take an optimiser step."""
    from .runs import build

    engines = {}

    def engine(packed: bool):
        if packed not in engines:
            engines[packed] = build(model_path("llama"), packed=packed)
        return engines[packed]

    return engine
