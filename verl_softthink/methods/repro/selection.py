"""Which cuts are scored: before the k segments with the least certain first token, at the prompt and after thinking."""

import torch
from torch import Tensor

from verl_softthink.methods.repro.segments import MAY_CUT, MUST_CUT


def select_cuts(kinds: Tensor, entropy: Tensor, segments: int) -> Tensor:
    """The cuts of one response.

    Args:
        kinds: [T + 1] what may be cut (``segments.cut_kinds``).
        entropy: [T + 1] in nats, at ``c`` that of the distribution which response token ``c`` was drawn from; only
            values at ``MAY_CUT`` are read. Equal values are taken in the order of the text.
        segments: k, the most segments to cut before.

    Returns:
        [P] int64, rising and distinct: 0, at most k starts of segments, and the end of thinking.
    """
    candidates = (kinds == MAY_CUT).nonzero()[:, 0]
    ranked = entropy[candidates].argsort(descending=True, stable=True)
    kept = torch.cat(((kinds == MUST_CUT).nonzero()[:, 0], candidates[ranked[:segments]]))
    return kept.unique()
