"""What every law is: draw an action from candidates, feed it, and score it under other candidates' log-probs."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates, LawParameters
from verl_softthink.laws.noise import gumbel


class Law(ABC):
    """A distribution over soft positions, given the log-probabilities l of the step's candidates.

    Subclasses are stateless; all randomness comes in as noise and all settings as per-row parameters.
    """

    name: ClassVar[str]
    #: Whether training may use the law: a deterministic mixture has no likelihood to differentiate.
    trainable: ClassVar[bool] = True
    #: Whether the candidates must be the whole vocabulary: the filter does not apply, but for its temperature.
    whole_vocabulary: ClassVar[bool] = False
    #: Whether the draw is an embedding (``Action.fed``) rather than weights: see ``gaussian``.
    draws_embedding: ClassVar[bool] = False
    #: What l is normalised over unless the settings say otherwise.
    normalise_over: ClassVar[str] = "candidates"
    #: The fields of ``LawParameters`` that the law reads.
    reads: ClassVar[tuple[str, ...]] = ()
    #: Settings that only this law has, with their defaults: keys of ``softthink.law``.
    own_settings: ClassVar[dict[str, float | int | str]] = {}

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
        """[N, K] float32 weights of the mixture, each row summing to 1; 0 in unused slots."""

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
    def embed(weights: Tensor, embeddings: Tensor) -> Tensor:
        """Mix embeddings: weights [N, K] and embeddings [N, K, H] give [N, H] in the embeddings' dtype.

        Summed in at least float32, in the rollout and in training alike: in bfloat16 the weights would not sum to 1.
        """
        wide = torch.promote_types(embeddings.dtype, torch.float32)
        return torch.einsum("nk,nkh->nh", weights.to(wide), embeddings.to(wide)).to(embeddings.dtype)

    def shown_slot(self, action: Action, parameters: LawParameters) -> Tensor:
        """[N] slot of the token that the text shows: the largest weight."""
        return self.weights(action, parameters).argmax(-1)


def masked_sum(terms: Tensor, mask: Tensor) -> Tensor:
    """Sum over the candidates, unused slots contributing neither value nor gradient (they may be inf or nan)."""
    return torch.where(mask, terms, 0.0).sum(-1)


def finite(log_probs: Tensor, mask: Tensor) -> Tensor:
    """Replace the ``-inf`` of unused slots by 0, so that no inf - inf reaches a gradient."""
    return torch.where(mask, log_probs, 0.0)
