"""Forward context influence of one attention layer, from queries and keys, without the attention matrix.

With ranges 0 (prompt), 1, 2, ... (response steps), softmax rows A and token counts |j|, arXiv 2509.26628 defines

    alpha_{j,k} = (1 / |j||k|) sum_{i in j, t in k} A_{i,t},      y_k = sum_{j >= k + 4} alpha_{j,k}

so y_k needs only column sums of A, in which row i has the weight 1/|step(i)| and counts if its range lies at least four
after the column's. Rows are recomputed tile by tile and summed at once: beside queries and keys, memory holds one tile
and [H, T] sums. Rows before range ``FIRST_SCORED + DISTANCE`` never count and are not computed.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: Ranges from a step to the first later one whose attention to it counts.
DISTANCE = 4
#: The prompt (0) and the first response step (1) are never scored.
FIRST_SCORED = 2
#: Elements of a tile of softmax rows: 4 MiB on a CPU, where larger ones are not faster.
TILE_CPU = 2**20
TILE_ACCELERATOR = 2**26
#: Most rows of a tile: more do not speed up the product, and waste more of the triangle above the diagonal.
MAX_ROWS = 256
#: Fewest: with less, the matrix product degenerates to vector products.
MIN_ROWS = 32
LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class LayerAttention:
    """How one layer scores keys.

    Attributes:
        scaling: factor on the products of queries and keys.
        window: keys a query attends to, its own included; None for all up to itself.
        softcap: scores are squashed to (-softcap, softcap) by tanh; None if they are not.
    """

    scaling: float
    window: int | None = None
    softcap: float | None = None


def influence_of_layer(
    query: Float[Tensor, "H T D"], key: Float[Tensor, "G T D"], lengths: Int[Tensor, " R"], attention: LayerAttention
) -> Float[Tensor, " R"]:
    """y_k of every range k, the maximum over the layer's heads.

    Args:
        query: [H, T, D] of one sequence, after the rotary embedding.
        key: [G, T, D] likewise; each head serves H / G consecutive query heads.
        lengths: [R] int64 on the CPU, tokens of every range, at least one each; they sum to T.
        attention: scaling, window and soft-cap of the layer.

    Returns:
        [R] float32, zero for the prompt, for the first response step and for the last four ranges.
    """
    best = torch.zeros(len(lengths), device=query.device)
    starts = _starts(lengths)
    last_scored = len(lengths) - DISTANCE  # exclusive
    if last_scored <= FIRST_SCORED:
        return best
    sums = _column_sums(query.float(), key.float(), starts, attention)
    scored = slice(FIRST_SCORED, last_scored)
    columns = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(query.device)
    by_range = sums.new_zeros(len(sums), len(lengths)).index_add_(1, columns, sums)
    best[scored] = (by_range / lengths.to(by_range)).amax(0)[scored]
    return best


def _starts(lengths: Tensor) -> Tensor:
    """[R + 1] first token of every range, and T."""
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0))


def _column_sums(query: Tensor, key: Tensor, starts: Tensor, attention: LayerAttention) -> Tensor:
    """[H, T]: for every key the weighted sum of its column over the rows that are far enough after it."""
    heads, total, _ = query.shape
    groups = len(key)
    share = heads // groups
    sums = query.new_zeros(heads, total)
    lengths = starts.diff()
    step = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    weight = (1.0 / lengths[step]).to(query)
    rows, groups_at_once = _tile(query.device, share, groups, total)
    buffer = query.new_empty(rows * groups_at_once * share * total)

    for start in range(int(starts[FIRST_SCORED + DISTANCE]), total, rows):
        end = min(start + rows, total)
        first_seen = 0 if attention.window is None else max(0, start - attention.window + 1)
        # Columns below ``far`` count for every row of the tile, those from there to ``near`` for its later rows only.
        left = max(int(starts[FIRST_SCORED]), first_seen)
        far = max(left, int(starts[step[start] - DISTANCE + 1]))
        near = max(far, int(starts[step[end - 1] - DISTANCE + 1]))
        counts = (step[start:end, None] >= step[None, far:near] + DISTANCE).to(query)
        for group in range(0, groups, groups_at_once):
            of_keys = slice(group, min(group + groups_at_once, groups))
            of_heads = slice(of_keys.start * share, of_keys.stop * share)
            terms = _softmax_terms(query[of_heads], key[of_keys], start, end, first_seen, attention, buffer)
            row_weight = (weight[start:end] / terms.sum(-1))[:, None]
            if far > left:
                sums[of_heads, left:far] += (row_weight @ terms[..., left - first_seen : far - first_seen])[:, 0]
            if near > far:
                counted = terms[..., far - first_seen : near - first_seen] * counts
                sums[of_heads, far:near] += (row_weight @ counted)[:, 0]
    return sums


def _softmax_terms(
    query: Tensor, key: Tensor, start: int, end: int, first_seen: int, attention: LayerAttention, buffer: Tensor
) -> Tensor:
    """[H, end - start, end - first_seen]: the numerators of the softmax of rows ``start`` to ``end``."""
    groups, rows, seen = len(key), end - start, end - first_seen
    share = len(query) // groups
    scores = buffer[: groups * share * rows * seen].view(groups, share * rows, seen)
    # Powers of two: a CPU computes them twice as fast as those of e.
    unit = LOG2_E if attention.softcap is None else 1.0
    stacked = (query[:, start:end] * (attention.scaling * unit)).reshape(groups, share * rows, -1)
    torch.bmm(stacked, key[:, first_seen:end].transpose(1, 2), out=scores)
    scores = scores.view(len(query), rows, seen)
    if attention.softcap is not None:
        scores.div_(attention.softcap).tanh_().mul_(attention.softcap * LOG2_E)
    above = torch.ones(rows, rows, dtype=torch.bool, device=query.device).triu_(1)
    scores[..., start - first_seen :].masked_fill_(above, -torch.inf)
    if attention.window is not None:
        queries = torch.arange(start, end, device=query.device)
        keys = torch.arange(first_seen, end, device=query.device)
        scores.masked_fill_(keys[None] <= queries[:, None] - attention.window, -torch.inf)
    return scores.sub_(scores.amax(-1, keepdim=True)).exp2_()


def _tile(device: torch.device, share: int, groups: int, total: int) -> tuple[int, int]:
    """Rows of a tile, and key heads in it."""
    size = TILE_CPU if device.type == "cpu" else TILE_ACCELERATOR
    rows = min(MAX_ROWS, total, max(MIN_ROWS, size // (share * total)))
    return rows, max(1, min(groups, size // (rows * share * total)))
