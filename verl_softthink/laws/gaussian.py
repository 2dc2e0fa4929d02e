"""Soft Tokens, Hard Truths (arXiv 2509.19170): the mean embedding plus Gaussian noise, scored in the embedding space.

Draw:   h~ = h + sigma z,   h = sum_v p_v E_v,   p = softmax(logits / T),   z ~ N(0, I_d)
Score:  log p(h~) = -|h~ - h(theta)|^2 / (2 sigma^2)

exact up to the constant -d/2 log(2 pi sigma^2), which is dropped in rollout and training alike: sigma is the one of
the draw and holds no parameter of the model, so ratios, gradients and divergences do not see the constant, while it
would swallow digits of a float32 ratio. h(theta) is differentiable through p and through E; the fed h~ is a constant.

p is the whole vocabulary's (``normalise_over="vocabulary"``, the paper) or renormalised over the frozen candidates.
sigma = gamma * RMS with RMS = sqrt(mean over all entries of E^2), per coordinate: |sigma z| is then about gamma times
the length of an embedding. T is the filter's temperature: 0.5 is the paper's "soft", 1e-4 its "fuzzy"; gamma 0 is
greedy, for inference only.

With ``covariance="candidates"`` the noise is not a sphere's: ``candidate_noise`` has its draw and its density.

The shown token, by which thinking ends, is the argmax of p, certain given the logits: its log-probability is 0. With
``shown="sampled"`` it is drawn from p among the candidates, independently of z, and its log-probability is added at
every drawn position: it decides whether there is a next one. So the end of thinking varies between the responses of a
group as it does in ordinary decoding, also where the noise is too little to change it.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.base import Law, finite
from verl_softthink.laws.candidate_noise import COVARIANCE, mean_weights
from verl_softthink.laws.noise import gumbel, normal
from verl_softthink.laws.parameters import LawParameters, Parameter, ParameterValue

#: Rows of the table that are cast to float32 at a time: bounds the copy of a half-precision table.
TABLE_ROWS = 16384
# |sigma sqrt(d) / sqrt(mean |E_v|^2) - gamma| relative to gamma; the two routes differ by rounding only.
_RATIO_TOLERANCE = 1e-3
#: The default is the paper's, which reports a collapse at 3.
GAMMA = Parameter(
    "gamma",
    "size of the noise: its length in lengths of an embedding, or with covariance=candidates the standard deviation in "
    "those of a drawn candidate; 0 feeds the mean, for evaluation only",
    default=0.33,
    at_least=0,
    at_most=10,
)
FED = Parameter(
    "fed",
    "what the trace carries of the fed embedding: itself, H numbers a position, or the seed that rebuilds it (mean "
    "over the candidates; with isotropic noise also one update a batch and no reference model)",
    default="embedding",
    dtype=None,
    choices=("embedding", "seed"),
)
SHOWN = Parameter(
    "shown",
    "the token that the text shows and that ends thinking: the likeliest candidate, or one drawn from the candidates, "
    "whose log-probability is then scored too",
    default="likeliest",
    dtype=torch.int64,
    choices=("likeliest", "sampled"),
)


class GaussianLaw(Law):
    """Noisy mean embeddings; the draw is ``fed``, and the action's values are the candidates' log-probabilities, the
    shown token's first."""

    name = "gaussian"
    draws_embedding = True
    normalisers = ("vocabulary", "candidates")
    parameters = (GAMMA, FED, SHOWN, COVARIANCE)

    def problem(self, values: Mapping[str, ParameterValue], normalise_over: str) -> str | None:
        if self.draws_weights(values) and (self.carries_embedding(values) or normalise_over != "candidates"):
            return (
                "law.covariance='candidates' is noise on the candidates' weights, rebuilt from the seed in the trace; "
                "set law.fed=seed and law.normalise_over=candidates, or law.covariance=isotropic"
            )
        if self.carries_embedding(values) or normalise_over == "candidates":
            return None
        return (
            "law.fed='seed' rebuilds the fed embedding from the candidates in the trace, but the mean is over the "
            "vocabulary; set law.normalise_over=candidates or law.fed=embedding"
        )

    def training_problem(self, values: Mapping[str, ParameterValue]) -> str | None:
        if not self.certain(values):
            return None
        return (
            "softthink.law.gamma=0 feeds the mean embedding, which is certain and has no likelihood; train with gamma "
            f"above 0 (paper: {GAMMA.default}) and keep 0 for evaluation"
        )

    def certain(self, values: Mapping[str, ParameterValue]) -> bool:
        return values["gamma"] == 0 and not self.draws_shown(values)

    def draws_shown(self, values: Mapping[str, ParameterValue]) -> bool:
        return values["shown"] == "sampled"

    def carries_embedding(self, values: Mapping[str, ParameterValue]) -> bool:
        return values["fed"] == "embedding"

    def draws_weights(self, values: Mapping[str, ParameterValue]) -> bool:
        return values["covariance"] == "candidates"

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        """The mean's candidates, the shown one first; ``perturb`` draws once the mean embedding is known."""
        sampled = _is_sampled(parameters)[:, None]
        chosen = (candidates.log_probs + torch.where(sampled, noise, 0.0)).argmax(-1, keepdim=True)
        log_probs = finite(candidates.log_probs, candidates.mask)
        return Action(ids=_to_front(candidates.ids, chosen), values=_to_front(log_probs, chosen))

    def noise(self, seed: Tensor, index: Tensor, candidates: Candidates, width: int) -> Tensor:
        """[N, K] Gumbel variates for the shown token; those of the embedding are ``coordinate_noise``."""
        # Of counters below 0, which no coordinate has.
        return gumbel(seed, index, ~candidates.ids)

    def shown_slot(self, action: Action, parameters: LawParameters) -> Tensor:
        return torch.zeros_like(action.ids[:, 0])

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        """The mean's weights among the action's candidates; all of the mean only if it is over the candidates."""
        return mean_weights(action)

    def log_prob(
        self, action: Action, log_probs: Tensor, parameters: LawParameters, embeddings: Tensor | None = None
    ) -> Tensor:
        """Log-density of ``action.fed``, without its constant; 0 where the scale is 0 and the draw is certain.

        That of the shown token, ``token_log_prob``, is to be added.

        Args:
            log_probs: [N, K] of the candidates, or [N, V] of the vocabulary.
            embeddings: [N, K, H] of the candidates, or the table [V, H].

        Raises:
            ValueError: without ``embeddings`` or without the draw.
        """
        if embeddings is None or action.fed is None or action.scale is None:
            raise ValueError(
                "the gaussian law scores the fed embedding: give action.fed, action.scale and the embeddings of the "
                "candidates or of the vocabulary"
            )
        # A padded slot has log-probability -inf and weighs 0.
        mean = mean_embedding(log_probs.exp(), embeddings)
        return log_density(action.fed, mean, action.scale)

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        # A row without candidates has no distribution among them.
        among = log_probs.masked_fill(~action.mask.any(-1, keepdim=True), 0.0).log_softmax(-1)
        return torch.where(_is_sampled(parameters), among.gather(-1, slot[:, None])[:, 0], 0.0)


def _is_sampled(parameters: LawParameters) -> Tensor:
    return parameters[SHOWN.name] == SHOWN.number("sampled")


def _to_front(values: Tensor, chosen: Tensor) -> Tensor:
    """[N, K] with the slot ``chosen`` [N, 1] and the first one exchanged."""
    exchanged = values.scatter(1, chosen, values[:, :1])
    exchanged[:, :1] = values.gather(1, chosen)
    return exchanged


def mean_embedding(
    weights: Float[Tensor, "rows entries"],
    embeddings: Float[Tensor, "rows entries hidden"] | Float[Tensor, "entries hidden"],
) -> Float[Tensor, "rows hidden"]:
    """[N, H] in at least float32: weights [N, K] over embeddings [N, K, H], or [N, V] over a table [V, H]."""
    wide = torch.promote_types(embeddings.dtype, torch.float32)
    weights = weights.to(wide)
    if embeddings.dim() == 3:
        return torch.einsum("nk,nkh->nh", weights, embeddings.to(wide))
    if embeddings.dtype == wide:
        return weights @ embeddings
    pieces = zip(weights.split(TABLE_ROWS, dim=-1), embeddings.split(TABLE_ROWS), strict=True)
    return sum(part @ rows.to(wide) for part, rows in pieces)


def log_density(
    fed: Float[Tensor, "rows hidden"], mean: Float[Tensor, "rows hidden"], scale: Float[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """[N] log-density of the draw [N, H] around mean [N, H], without its constant; 0 where scale [N] is 0."""
    certain = scale == 0
    squared = (fed.to(mean.dtype) - mean).square().sum(-1)
    return torch.where(certain, 0.0, -squared / (2 * scale.masked_fill(certain, 1.0).square()))


def coordinate_noise(
    seed: Int64[Tensor, " rows"], index: Int64[Tensor, " rows"], width: int
) -> Float32[Tensor, "rows {width}"]:
    """[N, H] standard normal noise of every coordinate: a function of (seed [N], index [N], coordinate)."""
    return normal(seed, index, torch.arange(width, device=seed.device).expand(len(seed), width))


def perturb(
    mean: Float[Tensor, "rows hidden"], scale: Float[Tensor, " rows"], noise: Float[Tensor, "rows hidden"]
) -> Float[Tensor, "rows hidden"]:
    """The draw h~ [N, H]: mean [N, H], scale [N], noise [N, H]."""
    return mean + scale[:, None] * noise


def root_mean_square(table: Float[Tensor, "vocabulary hidden"]) -> Float32[Tensor, ""]:
    """sqrt(mean of E^2) over all entries of a table [V, H], float32 scalar on the table's device."""
    # float64 sums: half a billion squares do not add up in float32.
    total = sum(rows.float().square().sum(dtype=torch.float64) for rows in table.split(TABLE_ROWS))
    return (total / table.numel()).sqrt().float()


def check_scale(scale: float, table: Float[Tensor, "vocabulary hidden"], gamma: float) -> None:
    """The start-up check: the noise's length over an embedding's length must be gamma.

    Raises:
        ValueError: when it is not, as with an RMS of vector lengths in place of coordinates, or a broken table.
    """
    lengths = sum(rows.double().norm(dim=-1).square().sum() for rows in table.split(TABLE_ROWS)) / len(table)
    ratio = scale * math.sqrt(table.shape[1]) / math.sqrt(float(lengths)) if lengths > 0 else math.nan
    if not abs(ratio - gamma) <= _RATIO_TOLERANCE * gamma:
        raise ValueError(
            f"softthink.law.gamma={gamma}: sigma={scale} makes the noise {ratio} times as long as an embedding; the "
            "embedding table holds zeros or numbers that are not finite, or sigma was not taken per coordinate"
        )
