"""Attention of answer tokens to a prefix of their sequence and to their own copy of the answer.

A copy of the answer follows the first ``p`` tokens of a sequence. Its token ``i`` has the logical position ``p + i``
and sees the sequence's tokens before ``p`` and the copy's tokens up to ``i``; in a layer with window ``w`` only those
at logical positions above ``p + i - w``.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

#: Most elements of one mask [rows, tokens, keys], 16 MiB: sequences are processed in chunks that stay below it.
MASK_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class AnswerTokens:
    """M answer tokens, ordered by sequence and by copy.

    Attributes:
        row: [M] int64, the sequence, in ascending order.
        copy: [M] int64, index of the copy.
        prefix: [M] int64 p, number of the sequence's tokens that the copy may see.
        offset: [M] int64 i, the token's position in its copy.
    """

    row: Int[Tensor, " tokens"]
    copy: Int[Tensor, " tokens"]
    prefix: Int[Tensor, " tokens"]
    offset: Int[Tensor, " tokens"]

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index: slice) -> "AnswerTokens":
        return AnswerTokens(self.row[index], self.copy[index], self.prefix[index], self.offset[index])


@dataclass(frozen=True)
class _Chunk:
    """R sequences with up to n answer tokens each, and the first L columns of them.

    Attributes:
        token: [R, n] int64 index into the M tokens.
        real: [R, n] bool.
        column: [R, L] int64 index into the flattened columns of the captured keys.
    """

    token: Int[Tensor, "rows tokens"]
    real: Bool[Tensor, "rows tokens"]
    column: Int[Tensor, "rows keys"]


@dataclass
class AnswerAttention:
    """What M answer tokens may attend to, prepared once for all layers.

    Args:
        tokens: the answer tokens.
        starts: [B] int64, where each sequence starts in the flattened columns of the captured pass.
    """

    tokens: AnswerTokens
    starts: Int[Tensor, " sequences"]
    _chunks: list[_Chunk] = field(default_factory=list)
    _masks: dict[tuple[int, int | None], Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, counts = self.tokens.row.unique_consecutive(return_counts=True)
        firsts = counts.cumsum(0) - counts
        # The copies of a sequence need not be ordered by prefix.
        sequence = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        longest = torch.zeros_like(counts).scatter_reduce_(0, sequence, self.tokens.prefix, "amax")
        begin = 0
        sizes = list(zip(counts.tolist(), longest.tolist(), strict=True))
        while begin < len(sizes):
            end, tokens, keys = begin, 0, 0
            while end < len(sizes):
                wider = max(tokens, sizes[end][0]), max(keys, sizes[end][1])
                if end > begin and (end + 1 - begin) * wider[0] * (wider[0] + wider[1]) > MASK_ELEMENTS:
                    break
                (tokens, keys), end = wider, end + 1
            self._chunks.append(self._chunk(rows[begin:end], firsts[begin:end], counts[begin:end], tokens, keys))
            begin = end

    def _chunk(self, rows: Tensor, firsts: Tensor, counts: Tensor, tokens: int, keys: int) -> _Chunk:
        slot = torch.arange(tokens, device=rows.device)
        real = slot < counts[:, None]
        token = (firsts[:, None] + slot).where(real, firsts[:, None])
        # Columns beyond a sequence's longest prefix belong to another sequence or to padding, and are masked.
        column = self.starts[rows][:, None] + torch.arange(keys, device=rows.device)
        return _Chunk(token, real, column)

    def attend(
        self,
        query: Float[Tensor, "1 heads tokens size"],
        key: Float[Tensor, "1 kv_heads tokens size"],
        value: Float[Tensor, "1 kv_heads tokens size"],
        prefix_key: Float[Tensor, "batch kv_heads columns size"],
        prefix_value: Float[Tensor, "batch kv_heads columns size"],
        window: int | None,
        scaling: float | None,
        softcap: float | None,
    ) -> Float[Tensor, "1 tokens heads size"]:
        """Attend in one layer.

        Args:
            query: [1, H, M, D].
            key, value: [1, G, M, D] of the answer tokens, H a multiple of G.
            prefix_key, prefix_value: [B, G, S, D] of the captured pass.
            window: of a sliding layer.
            scaling: of the scores; 1 / sqrt(D) when None.
            softcap: of the scores.

        Returns:
            [1, M, H, D].
        """
        heads = query.shape[1] // key.shape[1]
        output = torch.zeros_like(query[0].transpose(0, 1))
        for number, chunk in enumerate(self._chunks):
            keys = torch.cat((_columns(prefix_key, chunk.column), key[0][:, chunk.token].transpose(0, 1)), dim=2)
            values = torch.cat((_columns(prefix_value, chunk.column), value[0][:, chunk.token].transpose(0, 1)), dim=2)
            attended = _attention(
                query[0][:, chunk.token].transpose(0, 1),
                keys.repeat_interleave(heads, dim=1),
                values.repeat_interleave(heads, dim=1),
                self._mask(number, window)[:, None],
                scaling,
                softcap,
            )
            output[chunk.token[chunk.real]] = attended.transpose(1, 2)[chunk.real].to(output.dtype)
        return output[None]

    def _mask(self, number: int, window: int | None) -> Bool[Tensor, "rows tokens keys"]:
        """[R, n, L + n] bool, which columns and which tokens of its row each token may attend to."""
        if (number, window) not in self._masks:
            chunk, tokens = self._chunks[number], self.tokens
            prefix, offset, copy = tokens.prefix[chunk.token], tokens.offset[chunk.token], tokens.copy[chunk.token]
            column = torch.arange(chunk.column.shape[1], device=prefix.device)
            sequence = column < prefix[..., None]
            distance = offset[:, :, None] - offset[:, None, :]
            # Slots beyond a row's last token repeat its first one, which must not count twice.
            own = (copy[:, :, None] == copy[:, None, :]) & (distance >= 0) & chunk.real[:, None, :]
            if window is not None:
                sequence &= column > (prefix + offset)[..., None] - window
                own &= distance < window
            self._masks[number, window] = torch.cat((sequence, own), dim=-1)
        return self._masks[number, window]


def _columns(
    captured: Float[Tensor, "batch kv_heads columns size"], column: Int[Tensor, "rows keys"]
) -> Float[Tensor, "rows kv_heads keys size"]:
    """[R, G, L, D]: the flattened columns [R, L] of [B, G, S, D]."""
    batch, _, width, _ = captured.shape
    column = column.clamp(max=batch * width - 1)
    return captured[column // width, :, column % width].transpose(1, 2)


def _attention(
    query: Float[Tensor, "rows heads tokens size"],
    key: Float[Tensor, "rows heads keys size"],
    value: Float[Tensor, "rows heads keys size"],
    mask: Bool[Tensor, "rows 1 tokens keys"],
    scaling: float | None,
    softcap: float | None,
) -> Float[Tensor, "rows heads tokens size"]:
    if softcap is None:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    scores = (query @ key.transpose(2, 3)).float() * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = (softcap * (scores / softcap).tanh()).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1).to(value.dtype) @ value
