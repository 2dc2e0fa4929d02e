"""The two records a law works with: the frozen candidates of a step, and the action drawn among them."""

from dataclasses import dataclass, fields

from torch import Tensor

# Slots of a row beyond its candidates carry this id: no real token has it, so no token id is a sentinel.
NO_CANDIDATE = -1


@dataclass(frozen=True)
class Candidates:
    """The candidates of N steps, frozen at rollout time: training never filters again.

    Attributes:
        ids: [N, K] int64 token ids, most likely first; ``NO_CANDIDATE`` in unused slots.
        log_probs: [N, K] float32 normalised log-probabilities l_i; ``-inf`` in unused slots.
    """

    ids: Tensor
    log_probs: Tensor

    @property
    def mask(self) -> Tensor:
        """[N, K] bool, true where a slot holds a candidate."""
        return self.ids != NO_CANDIDATE


@dataclass(frozen=True)
class Action:
    """What a law drew at N steps: enough to rebuild both the input embedding and the likelihood.

    Attributes:
        ids: [N, K] int64 candidate ids, ``NO_CANDIDATE`` in unused slots.
        values: [N, K] float32, whose meaning is the law's (perturbed scores, log-weights ...); 0 in unused slots.
        fed: [N, H] the input embedding itself, for a law whose draw is an embedding (``Law.draws_embedding``).
        scale: [N] float32, standard deviation of each of its coordinates, or in those of a drawn candidate.
    """

    ids: Tensor
    values: Tensor
    fed: Tensor | None = None
    scale: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """[N, K] bool, true where a slot holds a candidate."""
        return self.ids != NO_CANDIDATE

    def __getitem__(self, index: Tensor) -> "Action":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Action(**{name: None if value is None else value[index] for name, value in values.items()})
