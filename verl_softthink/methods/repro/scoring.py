"""Run the answer tokens of a micro-batch through the model, in as many forward passes as memory asks for.

One forward pass of answer tokens is never longer than the micro-batch itself was, so its logits are no larger than
those of the pass it belongs to. Almost always one is enough; only many cuts of short responses need more. All ranks run
equally many, because sharded weights are gathered by all ranks together.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from verl_softthink.methods.repro.answer_attention import AnswerTokens
from verl_softthink.methods.repro.answers import Copies, entropy_and_log_prob
from verl_softthink.methods.repro.cut_positions import Places

#: (answer tokens, their ids [M], their position ids [M]) -> logits [M, V]
Forward = Callable[[AnswerTokens, Tensor, Tensor], Tensor]


def score_places(
    forward: Forward,
    logits: Tensor,
    places: Places,
    starts: Tensor,
    positions: Tensor,
    temperature: Tensor,
    *,
    segments: int,
    group: ProcessGroup | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Choose the cuts of every response and score its answer after each.

    Args:
        forward: one pass over answer tokens, after the pass that gave ``logits``.
        logits: [..., V] of the responses' pass.
        places: Q places where B responses may be cut.
        starts: [B] where each sequence starts among the flattened positions of ``logits``.
        positions: [Q] position id that the token behind each place has.
        temperature: [B] of each sequence.
        segments: k, the most segments to cut before.
        group: as in ``score_copies``.

    Returns:
        B tensors [P] of cuts, int64, and B tensors [P] of mean log-likelihoods, float32.
    """
    with torch.autocast(logits.device.type, enabled=False):
        entropy, first = entropy_and_log_prob(
            logits, starts[places.row] + places.prefix - 1, places.first_token, temperature[places.row]
        )
    chosen = places.select(entropy, segments)
    copies = places.copies(chosen)
    limit = logits.shape[:-1].numel()
    following = score_copies(forward, copies, positions[chosen], temperature, limit=limit, group=group)
    surrogate = copies.surrogate(first[chosen], following)
    return places.by_response(places.cut[chosen], chosen), places.by_response(surrogate, chosen)


def score_copies(
    forward: Forward,
    copies: Copies,
    position: Tensor,
    temperature: Tensor,
    *,
    limit: int,
    group: ProcessGroup | None = None,
) -> Tensor:
    """Log-probability of the token after every fed one.

    Args:
        forward: one pass over answer tokens.
        copies: C copies of answers.
        position: [C] position id of each copy's first token.
        temperature: [B] of each sequence.
        limit: most answer tokens of one forward pass; a single longer copy still goes through whole.
        group: ranks that run their forward passes together; None: this one alone.

    Returns:
        [M] float32.
    """
    tokens, ids = copies.fed()
    places = position[tokens.copy] + tokens.offset
    parts = _parts(tokens, limit)
    passes = _agree(len(parts), group, ids.device)
    if passes == 0:
        return temperature.new_zeros(0)
    targets = copies.targets() if len(ids) else ids
    scores = []
    for number in range(passes):
        if number >= len(parts):
            # Another rank has more to do and waits for this one's weights.
            nothing = ids.new_zeros(1)
            forward(tokens[:0], nothing, nothing)
            continue
        part = parts[number]
        logits = forward(tokens[part], ids[part], places[part])
        rows = torch.arange(len(logits), device=logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            scores.append(entropy_and_log_prob(logits, rows, targets[part], temperature[tokens.row[part]])[1])
    return torch.cat(scores) if scores else temperature.new_zeros(0)


def _parts(tokens: AnswerTokens, limit: int) -> list[slice]:
    """Whole copies, at most ``limit`` tokens together."""
    _, lengths = tokens.copy.unique_consecutive(return_counts=True)
    parts, begin, end = [], 0, 0
    for length in lengths.tolist():
        if end > begin and end + length - begin > limit:
            parts.append(slice(begin, end))
            begin = end
        end += length
    return [*parts, slice(begin, end)] if end > begin else parts


def _agree(passes: int, group: ProcessGroup | None, device: torch.device) -> int:
    """The most passes that any rank needs."""
    if group is None or torch.distributed.get_world_size(group) == 1:
        return passes
    most = torch.tensor(passes, device=device)
    torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX, group=group)
    return int(most)
