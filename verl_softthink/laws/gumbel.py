"""SofT-GRPO's law (arXiv 2511.06411): Gumbel-softmax mixtures, scored by the density of the perturbed scores.

Draw (Eq. 9):      g'_i = l_i + s eps_i,  eps_i ~ Gumbel(0, 1),   y = softmax(g' / tau)
Score (Eq. 12):    log p(g') = sum_i ( -z_i - exp(-z_i) - log s ),   z_i = (g'_i - l_i) / s

exact: no clamp, no mask on l. ``s`` is the noise scale, 1 in the paper. P(argmax y = i) = softmax(l / s)_i for
every tau. With a single candidate l = 0 and the density does not depend on the model at all.
"""

import math
from collections.abc import Mapping

from torch import Tensor

from verl_softthink.laws.action import Action, Candidates
from verl_softthink.laws.base import Law, finite, masked_sum
from verl_softthink.laws.parameters import SMALLEST_TEMPERATURE, LawParameters, Parameter, ParameterValue

#: From these on the paper reports a collapse.
COLLAPSE_TAU, COLLAPSE_TOP_P = 0.25, 1.0
TAU = Parameter(
    "tau",
    f"temperature tau of the mixture's softmax (tau_g in the paper, which reports a collapse at {COLLAPSE_TAU})",
    default=0.1,
    at_least=SMALLEST_TEMPERATURE,
)
# Below a quarter the Gumbel density overflows float32 once a log-probability rises 88 * noise_scale nats above
# a stored score, which a drifted policy then reaches; above four the draw hardly depends on the model.
NOISE_SCALE = Parameter("noise_scale", "scale s of the Gumbel noise, in nats", default=1.0, at_least=0.25, at_most=4)


class GumbelLaw(Law):
    """Mixtures of K candidates by perturbed scores; the action's values are the scores g'."""

    name = "gumbel"
    parameters = (TAU, NOISE_SCALE)

    def advice(self, values: Mapping[str, ParameterValue], *, top_p: float) -> list[str]:
        found = []
        if values["tau"] >= COLLAPSE_TAU:
            found.append(
                f"softthink.law.tau={values['tau']}: the paper reports a collapse at {COLLAPSE_TAU}; use {TAU.default}."
            )
        if top_p >= COLLAPSE_TOP_P:
            found.append(f"softthink.filter.top_p={top_p}: the paper reports a collapse; use 0.95.")
        return found

    def score_noise(self, values: Mapping[str, ParameterValue]) -> float | None:
        # The difference of two Gumbel variates is logistic.
        return values["noise_scale"] * math.pi / math.sqrt(3)

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        scores = candidates.log_probs + parameters["noise_scale"][:, None] * noise
        return Action(ids=candidates.ids, values=finite(scores, candidates.mask))

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        scores = (action.values / parameters["tau"][:, None]).masked_fill(~action.mask, -float("inf"))
        return scores.softmax(-1)

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        scale = parameters["noise_scale"][:, None]
        z = (action.values - finite(log_probs, action.mask)) / scale
        return masked_sum(-z - (-z).exp() - scale.log(), action.mask)

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        # -inf / s = -inf: unused slots keep probability 0.
        tempered = (log_probs / parameters["noise_scale"][:, None]).log_softmax(-1)
        return tempered.gather(-1, slot[:, None])[:, 0]
