"""The pocket reasoner: a one-million-parameter model, its task, its data and its reward, for runs on a laptop."""

from pathlib import Path

#: The shipped variants: the plain one, and one whose authors overthink (``overthinking.py``).
PLAIN, OVERTHINKING = "checkpoint", "checkpoint_overthinking"


def checkpoint_path(variant: str = PLAIN) -> Path:
    """The folder of a shipped checkpoint, in Hugging Face's format."""
    return Path(__file__).parent / variant
