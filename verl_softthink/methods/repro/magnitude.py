"""How far the answer's likelihood has risen since the bare prompt.

    n_t = -J_t >= 0,    S_magn,t = 1 - tanh(n_t / n_0)        in (0, 1]

The paper prints tanh(Delta + 1) + 1 with Delta = (J_t - J_b) / J_b. With J < 0 that falls as reasoning improves; the
released code computes tanh((n_0 - n_t) / n_0 - 1) + 1, which is the line above. Values for n_t / n_0 of 0, .5, 1, 2:
1, .538, .238, .036.
"""

from torch import Tensor

#: Nats per answer token. Below it the answer is practically certain (0.999 a token) without any reasoning, and the
#: ratio would magnify rounding.
SMALLEST_BASELINE = 1e-3


def magnitude(surrogate: Tensor) -> Tensor:
    """[N, P] of [N, P] mean log-likelihoods J in nats, whose first column is that of the bare prompt."""
    baseline = (-surrogate[:, :1]).clamp(min=SMALLEST_BASELINE)
    return 1 - (-surrogate / baseline).tanh()
