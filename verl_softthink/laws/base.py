"""What every law is: draw an action from candidates, feed it, and score it under other candidates' log-probs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.mixture import Mixture
from verl_softthink.laws.noise import gumbel
from verl_softthink.laws.parameters import LawParameters, Parameter, ParameterValue


class Law(ABC):
    """A distribution over soft positions, given the log-probabilities l of the step's candidates.

    Subclasses are stateless; all randomness comes in as noise and all settings as per-row parameters.
    """

    name: ClassVar[str]
    #: Whether training may use the law: a deterministic mixture has no likelihood to differentiate.
    trainable: ClassVar[bool] = True
    #: Whether the candidates must be the whole vocabulary: the filter does not apply, but for its temperature.
    whole_vocabulary: ClassVar[bool] = False
    #: Whether the action is one token, which is fed as it is: ordinary decoding.
    single_token: ClassVar[bool] = False
    #: Whether the draw is an embedding (``Action.fed``) rather than weights: see ``gaussian``.
    draws_embedding: ClassVar[bool] = False
    #: What l may be normalised over, the default first.
    normalisers: ClassVar[tuple[str, ...]] = ("candidates", "vocabulary")
    #: Candidates less likely than this share of the first are left out at rollout, whatever the filter keeps.
    smallest_share: ClassVar[float] = 0.0
    #: All that the law can be set to.
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    def columns(
        self, rows: int, *, device: torch.device | str | None = None, **values: ParameterValue | None
    ) -> LawParameters:
        """Parameters of ``rows`` rows, all the same, with the default of each that is not given or None.

        Raises:
            ValueError: when a value is not one of the parameter's.
            TypeError: when the law has no such parameter.
        """
        if unknown := values.keys() - {parameter.name for parameter in self.parameters}:
            raise TypeError(f"the law {self.name!r} has no parameter {', '.join(sorted(unknown))}")
        columns = {}
        for parameter in self.parameters:
            value = values.get(parameter.name)
            try:
                value = parameter.default if value is None else parameter.parse(value)
            except ValueError as error:
                raise ValueError(f"{parameter.name}={value!r}: {error}") from error
            if parameter.dtype is not None:
                columns[parameter.name] = parameter.column(rows, value, device)
        return columns

    # What depends on the values of the parameters. ``values`` has one for each of the law's.

    def problem(self, values: Mapping[str, ParameterValue], normalise_over: str) -> str | None:
        """Which of the settings, each allowed by itself, contradict each other, and the fix."""
        return None

    def training_problem(self, values: Mapping[str, ParameterValue]) -> str | None:
        """Why these values serve inference only, and the fix."""
        return None

    def advice(self, values: Mapping[str, ParameterValue], *, top_p: float) -> list[str]:
        """Warnings about values that are allowed and known to fail, a sentence each."""
        return []

    def slots(self, values: Mapping[str, ParameterValue]) -> int:
        """Candidate slots that a draw takes whatever the filter keeps; 0 where it takes the filter's candidates."""
        return 0

    def certain(self, values: Mapping[str, ParameterValue]) -> bool:
        """Whether the draw is a function of the logits, so that every sample is the same."""
        return False

    def draws_shown(self, values: Mapping[str, ParameterValue]) -> bool:
        """Whether the shown token is drawn beside an embedding, and scored by ``token_log_prob`` at every draw."""
        return False

    def carries_embedding(self, values: Mapping[str, ParameterValue]) -> bool:
        """Whether the trace carries the drawn embedding, rather than the seed that rebuilds it."""
        return self.draws_embedding

    def draws_weights(self, values: Mapping[str, ParameterValue]) -> bool:
        """Whether a drawn embedding is a mixture with noisy weights, which may be negative: see ``candidate_noise``."""
        return False

    def score_noise(self, values: Mapping[str, ParameterValue]) -> float | None:
        """Standard deviation, in nats, of the noise in the difference of two candidates' values.

        None for a law whose values are not log-probabilities plus noise of the same mean.
        """
        return None

    def noise(self, seed: Tensor, index: Tensor, candidates: Candidates, width: int) -> Tensor:
        """The counter-based noise that ``sample`` takes: here one standard Gumbel variate per candidate, [N, K].

        Args:
            seed: [N] int64 seed of each row's request.
            index: [N] int64 index of the generated token.
            candidates: [N, K] candidates.
            width: slots of the action.
        """
        return gumbel(seed, index, candidates.ids)

    @abstractmethod
    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        """Draw one action per row.

        Args:
            candidates: [N, K] candidates.
            parameters: [N] parameters.
            noise: what ``noise`` gives.
        """

    @abstractmethod
    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        """[N, K] float32 weights of what is fed, each row summing to 1; 0 in unused slots."""

    def mixture(self, action: Action, parameters: LawParameters) -> Mixture:
        """N mixtures, one weight for each token: what metrics and pages measure.

        Where the draw is an embedding, they are the mixtures of the candidates in its mean, before the noise. None of
        their weights is negative.
        """
        return Mixture.of_slots(action.ids, self.weights(action, parameters))

    @abstractmethod
    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        """[N] log-density of the action given the candidates' log-probabilities [N, K], differentiable in them."""

    @abstractmethod
    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        """[N] what scores a draw of which only the shown token, the candidate in ``slot`` [N], was fed.

        That is the position whose shown token completes the end-of-thinking marker. Where the probability of the
        shown token has a closed form it is that; elsewhere the density of the whole action, of which the token is a
        function: as unbiased, with more variance.
        """

    @staticmethod
    def embed(
        weights: Float[Tensor, "rows slots"], embeddings: Float[Tensor, "rows slots hidden"]
    ) -> Float[Tensor, "rows hidden"]:
        """Mix embeddings: weights [N, K] and embeddings [N, K, H] give [N, H] in the embeddings' dtype.

        Summed in at least float32, in the rollout and in training alike: in bfloat16 the weights would not sum to 1.
        """
        wide = torch.promote_types(embeddings.dtype, torch.float32)
        return torch.einsum("nk,nkh->nh", weights.to(wide), embeddings.to(wide)).to(embeddings.dtype)

    def shown_slot(self, action: Action, parameters: LawParameters) -> Tensor:
        """[N] slot of the token that the text shows: the largest weight."""
        return self.weights(action, parameters).argmax(-1)


def masked_sum(terms: Float[Tensor, "rows slots"], mask: Bool[Tensor, "#rows slots"]) -> Float[Tensor, " rows"]:
    """Sum over the candidates, unused slots contributing neither value nor gradient (they may be inf or nan)."""
    return torch.where(mask, terms, 0.0).sum(-1)


def finite(log_probs: Float[Tensor, "rows slots"], mask: Bool[Tensor, "#rows slots"]) -> Float[Tensor, "rows slots"]:
    """Replace the ``-inf`` of unused slots by 0, so that no inf - inf reaches a gradient."""
    return torch.where(mask, log_probs, 0.0)
