"""The thinking region of a response, and the places where it may be cut.

A cut ``c`` leaves the first ``c`` tokens of the response. Thinking is what stands before the end-of-thinking marker.

| response                        | region and cuts                                                              |
|---------------------------------|------------------------------------------------------------------------------|
| marker found                    | tokens before its first occurrence                                           |
| no marker (truncated, or none)  | the whole response, without a stop token that ends it                        |
| marker first (empty thinking)   | none: the only cut is 0, and there is no process reward                      |
| one segment                     | cuts 0 and the region's end: one piece                                       |
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from verl_softthink.thinking import thinking_length

#: Kinds of a place: no cut, a cut if its entropy is among the highest, a cut in any case.
NO_CUT, MAY_CUT, MUST_CUT = 0, 1, 2


def thinking_region(response: Tensor, marker: Sequence[int], stop_ids: Sequence[int]) -> int:
    """Number of tokens of the thinking region.

    Args:
        response: [T] int64 token ids.
        marker: ids of the end-of-thinking marker, at least one.
        stop_ids: ids that end a response.
    """
    length, before_marker = len(response), thinking_length(response, marker)
    if before_marker is not None:
        return before_marker
    stopped = length > 0 and int(response[-1]) in stop_ids
    return length - stopped


def segment_starts(ends: Tensor, thinking: int) -> Tensor:
    """First tokens of all segments of the region, the first one at 0 excepted.

    Args:
        ends: [T] bool, last tokens of segments.
        thinking: length of the region.

    Returns:
        [S] int64, rising, in [1, thinking).
    """
    return ends[: max(thinking - 1, 0)].nonzero()[:, 0] + 1


def cut_kinds(starts: Tensor, thinking: int, length: int) -> Tensor:
    """[length + 1] int64: for every number of response tokens that a cut could leave, one of the kinds above."""
    kinds = torch.full((length + 1,), NO_CUT)
    kinds[starts] = MAY_CUT
    kinds[0] = kinds[thinking] = MUST_CUT
    return kinds
