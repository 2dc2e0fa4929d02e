"""The pocket reasoner: a one-million-parameter model, its task, its data and its reward, for runs on a laptop."""

from pathlib import Path


def checkpoint_path() -> Path:
    """The folder of the shipped checkpoint, in Hugging Face's format."""
    return Path(__file__).parent / "checkpoint"
