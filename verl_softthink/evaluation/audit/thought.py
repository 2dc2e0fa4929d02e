"""The thought of a response: its mixtures, taken out of a trace, and put back as a prefix that the engine answers from.

A thought is the soft positions before the end-of-thinking marker. Of a marker of several tokens all but the last are
drawn softly as well; they are part of the ending, which stays as it is whatever becomes of the thought.

Mixtures are handed back as weights, whatever law drew them: the law ``deterministic`` takes log-weights for values and
feeds their softmax. A drawn embedding is handed back as it is, by its own law.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, Action, Mixture
from verl_softthink.laws.deterministic import DeterministicLaw
from verl_softthink.trace import FAILURES, SoftTrace

#: Feeds the mixture whose log-weights are its values.
AS_WEIGHTS = LawSettings(name=DeterministicLaw.name)


@dataclass(frozen=True)
class Thought:
    """L soft positions.

    Attributes:
        tokens: [L] int64 shown tokens, each one of its position's mixture.
        mixture: [L, K].
        fed: [L, H] the drawn embeddings; None where the mixtures are fed.
        scale: [L] standard deviation of their noise; None with ``fed``.
    """

    tokens: Tensor
    mixture: Mixture
    fed: Tensor | None = None
    scale: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, order: Int64[Tensor, " positions"]) -> "Thought":
        """The positions with these numbers, in this order."""
        return Thought(
            tokens=self.tokens[order],
            mixture=Mixture(ids=self.mixture.ids[order], weights=self.mixture.weights[order]),
            fed=None if self.fed is None else self.fed[order],
            scale=None if self.scale is None else self.scale[order],
        )


@dataclass(frozen=True)
class Prefix:
    """The beginning of a response.

    Attributes:
        trace: P positions.
        tokens: the P tokens that they show.
        law: feeds the trace.
        ending: number of the position at which the marker, or what is forced in its place, begins.
    """

    trace: SoftTrace
    tokens: list[int]
    law: LawSettings
    ending: int


@dataclass(frozen=True)
class Beginning:
    """A response up to its answer, of P positions.

    Attributes:
        prefix: as it was drawn.
        positions: [L] int64, numbers of the thought's positions.
    """

    prefix: Prefix
    positions: Tensor

    @property
    def mixture(self) -> Mixture:
        """[P, K] mixtures of everything drawn; without a token elsewhere."""
        trace, law = self.prefix.trace, self.prefix.law
        action = Action(ids=trace.ids.long(), values=trace.values)
        return LAWS[law.name].mixture(action, law.columns(len(trace)))

    @property
    def thought(self) -> Thought:
        """The thought as it was drawn."""
        trace, at, mixture = self.prefix.trace, self.positions, self.mixture
        return Thought(
            tokens=torch.tensor(self.prefix.tokens)[at],
            mixture=Mixture(ids=mixture.ids[at], weights=mixture.weights[at]),
            fed=None if trace.fed is None else trace.fed[at],
            scale=None if trace.fed is None else trace.scale[at],
        )

    def with_thought(self, thought: Thought) -> Prefix:
        """The prefix with another thought of L positions in place of its own."""
        trace, at = self.prefix.trace, self.positions
        width = max(trace.ids.shape[1], thought.mixture.ids.shape[1])
        ids, values = _slots(self.mixture, width)
        ids[at], values[at] = _slots(thought.mixture, width)
        tokens = torch.tensor(self.prefix.tokens)
        tokens[at] = thought.tokens
        changes: dict[str, Tensor | None] = {
            "ids": ids.int(),
            "values": values,
            "log_prob": torch.zeros(len(trace)),
            "scale": torch.zeros(len(trace)),
            "fed": None,
        }
        if thought.fed is not None:
            scale, fed = trace.scale.clone(), trace.fed.clone()
            scale[at], fed[at] = thought.scale, thought.fed
            changes |= {"scale": scale, "fed": fed}
        law = AS_WEIGHTS if thought.fed is None else self.prefix.law
        return Prefix(trace=replace(trace, **changes), tokens=tokens.tolist(), law=law, ending=self.prefix.ending)


def beginning(trace: SoftTrace, tokens: Sequence[int], law: LawSettings, marker_length: int) -> Beginning | None:
    """A response up to its answer; None where the response ended before its answer began.

    Args:
        trace: T positions.
        tokens: T tokens.
        law: drew the trace.
        marker_length: tokens of the marker, where thinking ended by one.
    """
    end = trace.end_of_thinking
    if end is None or trace.end_reason in FAILURES:
        return None
    after = end + int(trace.drawn[end])
    start = after + int(trace.forced[after:].int().cumprod(0).sum())
    if start >= len(trace):
        return None
    ending = after - marker_length if trace.end_reason == "marker" else end
    positions = trace.soft[:ending].nonzero()[:, 0]
    return Beginning(Prefix(trace.truncated(start), list(tokens[:start]), law, ending), positions)


def without_thought(lead_in: Sequence[int]) -> Prefix:
    """The prefix of a response that has to answer at once: what is forced where thinking is cut short."""
    forced = SoftTrace.of_tokens(torch.zeros(len(lead_in)))
    trace = replace(forced, forced=torch.ones(len(lead_in), dtype=torch.bool), end_reason="budget")
    return Prefix(trace=trace, tokens=list(lead_in), law=AS_WEIGHTS, ending=0)


def _slots(mixture: Mixture, width: int) -> tuple[Tensor, Tensor]:
    """Ids and log-weights [N, width] of the tokens, in the first slots.

    A token whose weight was rounded to 0 gets the smallest there is: too little to change the sum, and still a
    candidate, as the shown token of a position must be.
    """
    ids = torch.nn.functional.pad(mixture.ids, (0, width - mixture.ids.shape[1]), value=NO_CANDIDATE)
    weights = torch.nn.functional.pad(mixture.weights, (0, width - mixture.weights.shape[1]))
    order = (ids == NO_CANDIDATE).int().argsort(dim=-1, stable=True)
    ids, weights = ids.gather(-1, order), weights.gather(-1, order)
    log_weights = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
    return ids, torch.where(ids == NO_CANDIDATE, 0.0, log_weights)
