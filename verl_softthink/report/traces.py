"""Dumps for a page: read, and checked for what a page needs beyond the types and shapes of ``dump.read_dump``."""

from pathlib import Path

from torch import Tensor

from verl_softthink.config.base import parse
from verl_softthink.config.settings import LawSettings
from verl_softthink.dump import DumpedResponse, read_dump
from verl_softthink.errors import FileError, about_file
from verl_softthink.laws import LAWS, Action

#: By how much the weights of a mixture may miss 1: rounding of float32, and no more.
WEIGHT_TOLERANCE = 1e-3


def read_traces(path: Path) -> tuple[list[DumpedResponse], LawSettings]:
    """The responses of a dump, at least one, and the law that drew them.

    Raises:
        FileError: the file is not a dump, is damaged or empty, or its traces are not draws of its law.
    """
    responses, settings = read_dump(path)
    if not responses:
        raise FileError(path, "it holds no responses; give the dump of another step")
    with about_file(path, ValueError, advice="run the step again"):
        law = parse(LawSettings, settings, "its law")
        for response in responses:
            _check(response, law)
    return responses, law


def mixture_weights(response: DumpedResponse, law: LawSettings) -> Tensor:
    """[T, K] float32 weights of the mixture at every position; without meaning where nothing was drawn."""
    trace = response.trace
    return LAWS[law.name].weights(Action(trace.ids.long(), trace.values), law.columns(len(trace)))


def _check(response: DumpedResponse, law: LawSettings) -> None:
    """
    Raises:
        ValueError: a soft position without a candidate, weights that are no mixture, or an infinite entropy.
    """
    trace = response.trace
    candidates = Action(trace.ids.long(), trace.values).mask.any(-1)
    sums = mixture_weights(response, law).sum(-1)
    mixed = ((sums - 1).abs() <= WEIGHT_TOLERANCE) | ~(trace.drawn & candidates)
    for sound, what in (
        (candidates | ~trace.soft, "has no candidates"),
        (mixed, f"is no mixture of the law {law.name!r}: its weights do not sum to 1"),
        (~trace.entropy.isinf(), "has an infinite entropy"),
    ):
        if not sound.all():
            raise ValueError(f"position {int((~sound).nonzero()[0, 0])} of the response {response.key!r:.80} {what}")
