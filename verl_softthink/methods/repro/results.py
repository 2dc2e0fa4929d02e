"""From the likelihoods of a batch to rewards of pieces: what the stage, the worked page and the metrics share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from verl_softthink.methods.repro.placement import pieces_of_tokens
from verl_softthink.methods.repro.score import Scores, piece_mask, piece_rewards, score
from verl_softthink.methods.repro.settings import ReproSettings


@dataclass(frozen=True)
class ProcessRewards:
    """Of N responses with at most P points.

    Attributes:
        cuts: [N, P] int64 points.
        surrogate: [N, P] J in nats.
        scores: magnitude, stability and total, [N, P] each.
        counts: [N] real points.
        rewards: [N, P - 1] of the pieces.
        exists: [N, P - 1] bool, which pieces are real.
    """

    cuts: Tensor
    surrogate: Tensor
    scores: Scores
    counts: Tensor
    rewards: Tensor
    exists: Tensor

    @property
    def last(self) -> Tensor:
        """[N, 1] the last real point of each response."""
        return (self.counts - 1)[:, None]

    def select(self, index: Tensor) -> "ProcessRewards":
        """The responses of that index or mask."""
        return ProcessRewards(
            self.cuts[index],
            self.surrogate[index],
            Scores(*(part[index] for part in self.scores)),
            self.counts[index],
            self.rewards[index],
            self.exists[index],
        )

    def of_tokens(self, row: int, length: int) -> tuple[Tensor, Tensor]:
        """For the ``length`` tokens of one response: its piece (-1: none) and that piece's reward (0: none)."""
        piece = pieces_of_tokens(self.cuts[row, : self.counts[row]], length)
        if not self.rewards.shape[1]:
            return piece, torch.zeros(length)
        return piece, self.rewards[row][piece.clamp(min=0)].where(piece >= 0, 0.0)


def process_rewards(cuts: Sequence[Tensor], surrogate: Sequence[Tensor], settings: ReproSettings) -> ProcessRewards:
    """Score N responses.

    Args:
        cuts: N tensors [P_n] of cuts.
        surrogate: N tensors [P_n] of mean log-likelihoods in nats.
        settings: weights of the score.
    """
    counts = torch.tensor([len(row) for row in cuts])
    padded_cuts = pad_sequence(list(cuts), batch_first=True)
    padded = pad_sequence(list(surrogate), batch_first=True)
    scores = score(padded, settings.stability_weight, settings.average_decay)
    rewards = piece_rewards(scores.total, counts, settings.from_prompt)
    return ProcessRewards(padded_cuts, padded, scores, counts, rewards, piece_mask(counts, rewards.shape[1]))
