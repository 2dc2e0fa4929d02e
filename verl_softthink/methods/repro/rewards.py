"""From mean log-likelihoods of the answer to rewards of pieces, and from pieces to tokens.

With J_t the mean log-likelihood in nats after point t, J_0 that after the bare prompt and n_t = -J_t >= 0:

    S_magn,t = 1 - tanh(n_t / n_0)                                          in (0, 1], how far J has risen
    S_stab,t = (1 + tau_t) / 2                                              in [0, 1], how steadily
    tau_t    = sum_{i != j <= t} sign(i - j) sign(J_i - J_j) / (n (n - 1)),   n = t + 1
    S        = (1 - w) S_magn + w S_stab
    r_1 = S_1,     r_j = S_j - S_{j-1}

The paper prints the magnitude as tanh(Delta + 1) + 1 with Delta = (J_t - J_0) / J_0, which for J < 0 falls as reasoning
improves; the released code computes tanh((n_0 - n_t) / n_0 - 1) + 1, which is the first line. For n_t / n_0 of 0, .5,
1 and 2 it is 1, .538, .238 and .036.

tau is Kendall's tau-a between the index of a point and its J: it divides by all pairs, so a tie counts as neither
concordant nor discordant (SciPy's tau-b leaves ties out of the denominator). A single point has no pairs and tau 0.

Piece j lies between points j - 1 and j. Point 0 is the bare prompt: it has no reward, and as published its score counts
as 0, so the first piece earns S_1. ``from_prompt`` sets r_1 = S_1 - S_0 instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from verl_softthink.methods.repro.settings import ReproSettings

#: Nats per answer token. Below it the answer is practically certain (0.999 a token) without any reasoning, and the
#: ratio would magnify rounding.
SMALLEST_BASELINE = 1e-3


class Scores(NamedTuple):
    """Magnitude, stability and their weighted sum, [N, P] each."""

    magnitude: Float[Tensor, "responses points"]
    stability: Float[Tensor, "responses points"]
    total: Float[Tensor, "responses points"]


@dataclass(frozen=True)
class ProcessRewards:
    """Rewards of N responses with at most P points.

    Attributes:
        cuts: [N, P] int64 points.
        surrogate: [N, P] J in nats.
        scores: magnitude, stability and total, [N, P] each.
        counts: [N] real points.
        rewards: [N, P - 1] of the pieces.
        exists: [N, P - 1] bool, which pieces are real.
    """

    cuts: Int[Tensor, "responses points"]
    surrogate: Float[Tensor, "responses points"]
    scores: Scores
    counts: Int[Tensor, " responses"]
    rewards: Float[Tensor, "responses points-1"]
    exists: Bool[Tensor, "responses points-1"]

    @property
    def last(self) -> Int[Tensor, "responses 1"]:
        """[N, 1] index of the last real point of each response."""
        return (self.counts - 1)[:, None]

    def select(self, index: Tensor) -> "ProcessRewards":
        """The responses at an index [M] or mask [N]."""
        return ProcessRewards(
            self.cuts[index],
            self.surrogate[index],
            Scores(*(part[index] for part in self.scores)),
            self.counts[index],
            self.rewards[index],
            self.exists[index],
        )

    def of_tokens(self, row: int, length: int) -> tuple[Int[Tensor, " length"], Float[Tensor, " length"]]:
        """The piece of each of the ``length`` tokens of one response (-1: none), and its reward (0: none)."""
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


def score(surrogate: Float[Tensor, "responses points"], weight: float, decay: float | None = None) -> Scores:
    """Score every point.

    Args:
        surrogate: [N, P] J in nats, padded at the end of a row with any finite value.
        weight: w, the share of stability, in [0, 1].
        decay: of the exponential average of J before tau, in [0, 1); None: no average.
    """
    far, steady = magnitude(surrogate), stability(surrogate, decay)
    return Scores(far, steady, (1 - weight) * far + weight * steady)


def magnitude(surrogate: Float[Tensor, "responses points"]) -> Float[Tensor, "responses points"]:
    """S_magn [N, P] of J [N, P] in nats, whose first column is that of the bare prompt."""
    baseline = (-surrogate[:, :1]).clamp(min=SMALLEST_BASELINE)
    return 1 - (-surrogate / baseline).tanh()


def stability(
    surrogate: Float[Tensor, "responses points"], decay: float | None = None
) -> Float[Tensor, "responses points"]:
    """S_stab [N, P] of J [N, P]: 1 where J rises strictly. ``decay`` smooths J first."""
    values = surrogate if decay is None else exponential_average(surrogate, decay)
    return (1 + prefix_kendall_tau(values)) / 2


def exponential_average(values: Float[Tensor, "rows points"], decay: float) -> Float[Tensor, "rows points"]:
    """e_0 = v_0, e_i = (1 - decay) v_i + decay e_{i-1} along the rows of [N, P]; the authors use 0.99."""
    averages = [values[:, 0]]
    for column in values.unbind(1)[1:]:
        averages.append((1 - decay) * column + decay * averages[-1])
    return torch.stack(averages, dim=1)


def prefix_kendall_tau(values: Float[Tensor, "rows points"]) -> Float[Tensor, "rows points"]:
    """[N, P] in [-1, 1]: tau-a of the first 1, 2, ..., P values of each row of ``values`` [N, P].

    Later points do not change the tau of earlier ones, so padding at the end of a row is harmless.
    """
    signs = (values[:, :, None] - values[:, None, :]).sign().tril(-1)
    concordance = signs.sum(-1).cumsum(-1)
    points = torch.arange(1, values.shape[1] + 1, device=values.device)
    pairs = points * (points - 1) / 2
    return concordance / pairs.clamp(min=1)


def piece_rewards(
    total: Float[Tensor, "responses points"], counts: Int[Tensor, " responses"], from_prompt: bool = False
) -> Float[Tensor, "responses points-1"]:
    """Reward of each piece.

    Args:
        total: [N, P] scores.
        counts: [N] real points of each row, at least 1.
        from_prompt: whether the bare prompt's score is subtracted from that of the first piece.

    Returns:
        [N, P - 1], 0 beyond a row's last piece.
    """
    rewards = total.diff(dim=1)
    if not from_prompt and rewards.shape[1]:
        rewards = torch.cat((total[:, 1:2], rewards[:, 1:]), dim=1)
    return rewards * piece_mask(counts, rewards.shape[1])


def piece_mask(counts: Int[Tensor, " responses"], pieces: int) -> Bool[Tensor, "responses pieces"]:
    """[N, pieces] bool, which pieces of each row exist, from the [N] numbers of points."""
    return torch.arange(1, pieces + 1, device=counts.device) < counts[:, None]


def rewards_on_tokens(
    rewards: Float[Tensor, "responses pieces"],
    cuts: Int[Tensor, "responses pieces+1"],
    exists: Bool[Tensor, "responses pieces"],
    width: int,
) -> Float[Tensor, "responses width"]:
    """Put the reward of each piece on its last token.

    Args:
        rewards: [N, P - 1] rewards of pieces.
        cuts: [N, P] rising cuts; piece j ends with response token ``cuts[:, j + 1] - 1``.
        exists: [N, P - 1] bool, which pieces are real. A reward of 0 is a reward: this mask alone marks padding.
        width: T, tokens of the longest response.

    Returns:
        [N, T], 0 where no piece ends.
    """
    last = (cuts[:, 1:] - 1).where(exists, 0)
    return rewards.new_zeros(len(rewards), width).scatter_add(1, last, rewards.where(exists, 0.0))


def reward_to_go(rewards: Float[Tensor, "responses tokens"]) -> Float[Tensor, "responses tokens"]:
    """[N, T]: the sum of the rewards [N, T] at and after every token."""
    return rewards.flip(-1).cumsum(-1).flip(-1)


def pieces_of_tokens(cuts: Int[Tensor, " points"], width: int) -> Int[Tensor, " width"]:
    """[width] int64: the piece that each token of one response belongs to, of its [P] cuts; -1 after the last cut."""
    tokens = torch.arange(width, device=cuts.device)
    piece = torch.searchsorted(cuts, tokens, right=True) - 1
    return piece.where(tokens < cuts[-1], -1)
