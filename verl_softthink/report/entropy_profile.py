"""Mean next-token entropy by position of the chain of thought, from the rollout dumps of runs.

The entropy is that of the whole next-token distribution at verl's rollout temperature, from the pass over the old
policy: the same quantity whatever law fed the positions, so that hard and soft runs can be laid over each other. Soft
Tokens (arXiv 2509.19170) finds that training on soft tokens keeps the base model's profile, and on hard tokens flattens
it. Only positions that a response has take part; later ones average over fewer, longer responses.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from verl_softthink.dump import DumpedResponse, read_dump
from verl_softthink.errors import FileError
from verl_softthink.report.figure import COLOURS, new_figure, save
from verl_softthink.report.selection import find_dump

#: Name of the per-position field of a dump, and of verl's field in a batch.
ENTROPY = "entropy"
#: Positions that fewer responses reach are left out of the figure.
FEWEST_RESPONSES = 4


def entropy_profile(entropies: Sequence[Tensor], thinking: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean entropy at each position of the chain of thought.

    Args:
        entropies: [T] float nats of each response, whose lengths differ.
        thinking: [T] bool of each response, its positions of thought.

    Returns:
        mean [P] float64 nats and count [P] int64 of responses that reach a position, P the longest chain of thought.
    """
    longest = max((int(mask.sum()) for mask in thinking), default=0)
    total = torch.zeros(longest, dtype=torch.float64)
    count = torch.zeros(longest, dtype=torch.int64)
    for values, mask in zip(entropies, thinking, strict=True):
        chosen = values.double()[mask.bool()]
        total[: len(chosen)] += chosen
        count[: len(chosen)] += 1
    return total / count, count


def thinking_of(response: DumpedResponse) -> Tensor:
    """[T] bool: what the law drew; of a discrete run, whose dumps know no phases, the whole response."""
    drawn = response.trace.drawn
    return drawn if drawn.any() else torch.ones_like(drawn)


def plot_entropy_profiles(runs: Sequence[tuple[str, Path]], output: Path, *, title: str = "") -> Path:
    """Draw the profile of every dump and write ``output`` (PNG).

    Args:
        runs: label and dump; a directory stands for its last ``traces-<step>.safetensors``, also in ``rollouts/``.

    Raises:
        FileNotFoundError: a directory without dumps.
        FileError: a dump that is damaged, or has no entropies.
    """
    figure, (axes,) = new_figure(1)
    for number, (label, path) in enumerate(runs):
        dump = find_dump(path)
        responses, _ = read_dump(dump)
        if not responses or any(ENTROPY not in response.extra for response in responses):
            raise FileError(dump, "it has no entropies; add +softthink.entropy_profile={} to the run")
        if any(response.extra[ENTROPY].shape != response.trace.drawn.shape for response in responses):
            raise FileError(dump, "it is damaged: a response has not one entropy for every position")
        entropies = [response.extra[ENTROPY] for response in responses]
        mean, count = entropy_profile(entropies, [thinking_of(response) for response in responses])
        shown = mean[count >= min(FEWEST_RESPONSES, len(responses))]
        axes.plot(range(len(shown)), shown, color=COLOURS[number % len(COLOURS)], label=f"{label} ({dump.stem})")
    axes.set(title=title or "Next-token entropy", xlabel="position in the chain of thought", ylabel="nats")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, output)
