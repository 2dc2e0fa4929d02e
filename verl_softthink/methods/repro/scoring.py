"""The mean log-likelihood of the right answer after every cut of a micro-batch.

    J_c = (1 / A) sum_i log pi(a_i | prompt, response_<c, lead-in, a_<i)

under the policy as it samples, at the batch's temperature. Of each copy [lead-in, answer] all tokens but the last are
inputs. Without a lead-in, ``a_1`` is scored by the logits of the responses' own pass at the last token of the prefix,
which also give the entropy that ranks the cut; an answer of one token therefore costs no second forward pass.

A forward pass over answer tokens is never longer than the micro-batch itself, so its logits are no larger than those of
the pass before it. One is almost always enough; only many cuts of short responses need more. All ranks run the same
number of passes, because gathering sharded weights is a collective operation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributed import ProcessGroup

from verl_softthink.methods.repro.answer_attention import AnswerTokens
from verl_softthink.methods.repro.cuts import CutPositions

#: Rows of logits that are converted to float32 at a time.
ROWS_AT_ONCE = 256
#: (answer tokens, their ids [M], their position ids [M]) -> logits [M, V]
Forward = Callable[[AnswerTokens, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Copies:
    """C copies of answers, one per cut of the micro-batch, in the order of the sequences.

    Attributes:
        row: [C] int64, the sequence.
        prefix: [C] int64, tokens of the sequence (prompt included) before the copy.
        tokens: C tensors [F + A]: lead-in and answer.
        lead_in: F, number of lead-in tokens, which are not scored.
    """

    row: Int[Tensor, " copies"]
    prefix: Int[Tensor, " copies"]
    tokens: list[Int[Tensor, " _"]]
    lead_in: int

    @classmethod
    def at(cls, positions: CutPositions, chosen: Int[Tensor, " copies"]) -> "Copies":
        """A copy of the answer at each chosen cut position."""
        row = positions.row[chosen]
        return cls(row, positions.prefix[chosen], [positions.answers[r] for r in row.tolist()], positions.lead_in)

    def inputs(self) -> tuple[AnswerTokens, Int[Tensor, " tokens"]]:
        """The M input tokens of all copies, and their ids [M]."""
        device = self.row.device
        lengths = torch.tensor([len(tokens) - 1 for tokens in self.tokens], dtype=torch.int64, device=device)
        copy = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        offset = torch.arange(len(copy), device=device) - (lengths.cumsum(0) - lengths)[copy]
        ids = torch.cat([tokens[:-1] for tokens in self.tokens]) if self.tokens else lengths
        return AnswerTokens(self.row[copy], copy, self.prefix[copy], offset), ids

    def targets(self) -> Int[Tensor, " tokens"]:
        """[M] ids of the tokens after the input tokens."""
        return torch.cat([tokens[1:] for tokens in self.tokens])

    def surrogate(
        self, first: Float[Tensor, " copies"], following: Float[Tensor, " tokens"]
    ) -> Float[Tensor, " copies"]:
        """[C] mean log-likelihoods.

        Args:
            first: [C] log-prob of each copy's first token.
            following: [M] log-prob of the token after each input token.
        """
        tokens, _ = self.inputs()
        scored = following.where(tokens.offset + 1 >= self.lead_in, 0.0)
        total = first.new_zeros(len(first)).index_add(0, tokens.copy, scored)
        if self.lead_in == 0:
            total = total + first
        lengths = torch.tensor([len(tokens) - self.lead_in for tokens in self.tokens], device=first.device)
        return total / lengths


def score_cut_positions(
    forward: Forward,
    logits: Float[Tensor, "*columns vocabulary"],
    positions: CutPositions,
    starts: Int[Tensor, " responses"],
    position_ids: Int[Tensor, " positions"],
    temperature: Float[Tensor, " responses"],
    *,
    segments: int,
    group: ProcessGroup | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Choose the cuts of every response and score its answer after each.

    Args:
        forward: one pass over answer tokens, after the pass that gave ``logits``.
        logits: [..., V] of the responses' pass.
        positions: Q positions where B responses may be cut.
        starts: [B] where each sequence starts among the flattened columns of ``logits``.
        position_ids: [Q] position id of the token after each cut position.
        temperature: [B] of each sequence.
        segments: k, the most segments to cut before.
        group: as in ``score_copies``.

    Returns:
        B tensors [P] of cuts, int64, and B tensors [P] of mean log-likelihoods, float32.
    """
    with torch.autocast(logits.device.type, enabled=False):
        entropy, first = entropy_and_log_prob(
            logits, starts[positions.row] + positions.prefix - 1, positions.first_token, temperature[positions.row]
        )
    chosen = positions.select(entropy, segments)
    copies = Copies.at(positions, chosen)
    limit = logits.shape[:-1].numel()
    following = score_copies(forward, copies, position_ids[chosen], temperature, limit=limit, group=group)
    surrogate = copies.surrogate(first[chosen], following)
    return positions.by_response(positions.cut[chosen], chosen), positions.by_response(surrogate, chosen)


def score_copies(
    forward: Forward,
    copies: Copies,
    position_ids: Int[Tensor, " copies"],
    temperature: Float[Tensor, " responses"],
    *,
    limit: int,
    group: ProcessGroup | None = None,
) -> Float[Tensor, " tokens"]:
    """Log-prob of the token after every input token.

    Args:
        forward: one pass over answer tokens.
        copies: C copies of answers.
        position_ids: [C] position id of each copy's first token.
        temperature: [B] of each sequence.
        limit: most answer tokens of one forward pass; a single longer copy is still processed whole.
        group: ranks that run their forward passes together; None: this rank alone.

    Returns:
        [M] float32.
    """
    tokens, ids = copies.inputs()
    input_positions = position_ids[tokens.copy] + tokens.offset
    parts = _parts(tokens, limit)
    passes = _most_passes(len(parts), group, ids.device)
    if passes == 0:
        return temperature.new_zeros(0)
    targets = copies.targets() if len(ids) else ids
    scores = []
    for number in range(passes):
        if number >= len(parts):
            # Another rank has more passes to run and needs this one to gather its weights.
            nothing = ids.new_zeros(1)
            forward(tokens[:0], nothing, nothing)
            continue
        part = parts[number]
        logits = forward(tokens[part], ids[part], input_positions[part])
        rows = torch.arange(len(logits), device=logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            scores.append(entropy_and_log_prob(logits, rows, targets[part], temperature[tokens.row[part]])[1])
    return torch.cat(scores) if scores else temperature.new_zeros(0)


def entropy_and_log_prob(
    logits: Float[Tensor, "*columns vocabulary"],
    rows: Int[Tensor, " rows"],
    ids: Int[Tensor, " rows"],
    temperature: Float[Tensor, " rows"],
) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Entropy of next-token distributions, and the log-prob of one token of each.

    Args:
        logits: [..., V] raw logits, any dtype.
        rows: [R] int64 flattened columns of ``logits``.
        ids: [R] int64.
        temperature: [R] float32.

    Returns:
        [R] float32 in nats, and [R] float32.
    """
    flat = logits.reshape(-1, logits.shape[-1])
    entropies, log_probs = [], []
    for part in torch.arange(len(rows), device=rows.device).split(ROWS_AT_ONCE):
        log_softmax = (flat[rows[part]].float() / temperature[part][:, None]).log_softmax(-1)
        entropies.append(torch.special.entr(log_softmax.exp()).sum(-1))
        log_probs.append(log_softmax.gather(-1, ids[part][:, None])[:, 0])
    if not entropies:
        return temperature.new_zeros(0), temperature.new_zeros(0)
    return torch.cat(entropies), torch.cat(log_probs)


def _parts(tokens: AnswerTokens, limit: int) -> list[slice]:
    """Slices of whole copies, at most ``limit`` tokens each."""
    _, lengths = tokens.copy.unique_consecutive(return_counts=True)
    parts, begin, end = [], 0, 0
    for length in lengths.tolist():
        if end > begin and end + length - begin > limit:
            parts.append(slice(begin, end))
            begin = end
        end += length
    return [*parts, slice(begin, end)] if end > begin else parts


def _most_passes(passes: int, group: ProcessGroup | None, device: torch.device) -> int:
    """The most forward passes that any rank of the group needs."""
    if group is None or torch.distributed.get_world_size(group) == 1:
        return passes
    most = torch.tensor(passes, device=device)
    torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX, group=group)
    return int(most)
