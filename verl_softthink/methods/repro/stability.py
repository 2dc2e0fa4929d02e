"""How steadily the answer's likelihood rises: Kendall's tau-a between the index of a point and its J.

    tau_t = sum_{i != j <= t} sign(i - j) sign(J_i - J_j) / (n (n - 1)),  n = t + 1,     S_stab,t = (1 + tau_t) / 2

tau-a divides by all pairs, so ties count as neither; SciPy's tau-b leaves them out of the denominator. One point has no
pairs: its tau is 0, which says nothing in either direction.
"""

import torch
from torch import Tensor


def prefix_kendall_tau(values: Tensor) -> Tensor:
    """[N, P] in [-1, 1]: tau-a of the first 1, 2, ..., P values of each row of ``values`` [N, P].

    What stands behind a point does not change its tau, so padding at the end of a row is harmless.
    """
    signs = (values[:, :, None] - values[:, None, :]).sign().tril(-1)
    concordance = signs.sum(-1).cumsum(-1)
    points = torch.arange(1, values.shape[1] + 1, device=values.device)
    pairs = points * (points - 1) / 2
    return concordance / pairs.clamp(min=1)


def exponential_average(values: Tensor, decay: float) -> Tensor:
    """e_0 = v_0, e_i = (1 - decay) v_i + decay e_{i-1} along the rows of [N, P]; the authors use 0.99."""
    averages = [values[:, 0]]
    for column in values.unbind(1)[1:]:
        averages.append((1 - decay) * column + decay * averages[-1])
    return torch.stack(averages, dim=1)


def stability(surrogate: Tensor, decay: float | None = None) -> Tensor:
    """[N, P] in [0, 1] of [N, P] mean log-likelihoods; 1 where they rise strictly, ``decay`` smooths them first."""
    values = surrogate if decay is None else exponential_average(surrogate, decay)
    return (1 + prefix_kendall_tau(values)) / 2
