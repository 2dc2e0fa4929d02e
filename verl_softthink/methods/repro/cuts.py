"""Where a response may be cut, and which of these cuts are scored.

A cut ``c`` keeps the first ``c`` tokens of the response. The thinking region ends at the end-of-thinking marker.

| response                        | region and cuts                                                              |
|---------------------------------|------------------------------------------------------------------------------|
| marker found                    | tokens before the one in which it begins                                     |
| no marker (truncated, or none)  | the whole response, without the stop token that ends it                      |
| marker first (empty thinking)   | none: the only cut is 0, and there is no process reward                      |
| one segment                     | cuts 0 and the region's end: one piece                                       |

Scored are the bare prompt (cut 0), the starts of the k segments whose first token has the highest entropy, and the end
of the region.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from verl_softthink.methods.repro.fields import ANSWER, KINDS, NO_ANSWER
from verl_softthink.thinking import EndOfThinking

#: Kinds of a position: no cut, a cut if its entropy is among the highest, a cut in any case.
NO_CUT, MAY_CUT, MUST_CUT = 0, 1, 2


def thinking_region(response: Int[Tensor, " tokens"], end: EndOfThinking, stop_ids: Collection[int]) -> int:
    """Number of tokens of the thinking region.

    Args:
        response: [T] int64 token ids.
        end: finds the end-of-thinking marker.
        stop_ids: ids that end a response.
    """
    length, found = len(response), end.find(response)
    if found is not None:
        return found.start
    stopped = length > 0 and int(response[-1]) in stop_ids
    return length - stopped


def segment_starts(ends: Bool[Tensor, " tokens"], thinking: int) -> Int[Tensor, " segments"]:
    """First tokens of all segments of the region except the one that starts at 0.

    Args:
        ends: [T] bool, last tokens of segments.
        thinking: length of the region.

    Returns:
        [S] int64, rising, in [1, thinking).
    """
    return ends[: max(thinking - 1, 0)].nonzero()[:, 0] + 1


def cut_kinds(starts: Int[Tensor, " segments"], thinking: int, length: int) -> Int[Tensor, " {length}+1"]:
    """[length + 1] int64: ``NO_CUT``, ``MAY_CUT`` or ``MUST_CUT`` for every number of response tokens to keep."""
    kinds = torch.full((length + 1,), NO_CUT)
    kinds[starts] = MAY_CUT
    kinds[0] = kinds[thinking] = MUST_CUT
    return kinds


def select_cuts(
    kinds: Int[Tensor, " lengths"], entropy: Float[Tensor, " lengths"], segments: int
) -> Int[Tensor, " points"]:
    """The cuts of one response.

    Args:
        kinds: [T + 1] of ``cut_kinds``.
        entropy: [T + 1] nats, at ``c`` that of the distribution which response token ``c`` was drawn from; only values
            at ``MAY_CUT`` are read. Among equal values the earlier position is taken.
        segments: k, the most segments to cut before.

    Returns:
        [P] int64, rising and distinct: 0, at most k starts of segments, and the end of thinking.
    """
    candidates = (kinds == MAY_CUT).nonzero()[:, 0]
    ranked = entropy[candidates].argsort(descending=True, stable=True)
    selected = torch.cat(((kinds == MUST_CUT).nonzero()[:, 0], candidates[ranked[:segments]]))
    return selected.unique()


@dataclass(frozen=True)
class CutPositions:
    """The Q positions where the B responses of a micro-batch may be cut; a response without a right answer has none.

    Attributes:
        row: [Q] int64, the sequence, in ascending order.
        cut: [Q] int64, response tokens that are kept.
        kind: [Q] int64, of ``cut_kinds``.
        prompts: [B] int64, tokens of each prompt.
        answers: B tensors, lead-in and answer; empty where there is none.
        lead_in: number of lead-in tokens, which are not scored.
    """

    row: Int[Tensor, " positions"]
    cut: Int[Tensor, " positions"]
    kind: Int[Tensor, " positions"]
    prompts: Int[Tensor, " responses"]
    answers: list[Int[Tensor, " _"]]
    lead_in: int

    @property
    def prefix(self) -> Int[Tensor, " positions"]:
        """[Q] tokens of the sequence, prompt included, that are kept."""
        return self.prompts[self.row] + self.cut

    @property
    def first_token(self) -> Int[Tensor, " positions"]:
        """[Q] first token of lead-in and answer."""
        firsts = torch.stack([answer[0] if len(answer) else self.cut.new_zeros(()) for answer in self.answers])
        return firsts[self.row]

    def select(self, entropy: Float[Tensor, " positions"], segments: int) -> Int[Tensor, " cuts"]:
        """[C] int64, the positions where the answer is scored, given the [Q] entropies of their next tokens."""
        chosen = []
        for row in self.row.unique_consecutive().tolist():
            (index,) = (self.row == row).nonzero(as_tuple=True)
            kinds = self.kind.new_full((int(self.cut[index[-1]]) + 1,), NO_CUT)
            entropies = entropy.new_zeros(len(kinds))
            kinds[self.cut[index]], entropies[self.cut[index]] = self.kind[index], entropy[index]
            selected = select_cuts(kinds, entropies, segments)
            chosen.append(index[torch.searchsorted(self.cut[index], selected)])
        return torch.cat(chosen) if chosen else self.row

    def by_response(self, values: Tensor, chosen: Int[Tensor, " cuts"]) -> list[Tensor]:
        """Split [C] values at the chosen positions by response; a single 0 for a response that has none."""
        counts = torch.bincount(self.row[chosen], minlength=len(self.answers)).tolist()
        return [part if len(part) else values.new_zeros(1) for part in values.split(counts)]


def find_cut_positions(
    fields: dict[str, Tensor], input_ids: Tensor, responses: Tensor, lead_in: list[int]
) -> CutPositions:
    """Flatten the cut positions of a micro-batch.

    Args:
        fields: jagged ``KINDS`` [B, T + 1] and ``ANSWER`` [B, A].
        input_ids: [B, S] jagged, prompt and response.
        responses: [B, T] jagged.
        lead_in: token ids between the prefix and the answer.

    Raises:
        ValueError: when the fields do not fit the responses.
    """
    lengths = responses.offsets().diff()
    prompts = input_ids.offsets().diff() - lengths
    rows, cuts, kinds, answers = [], [], [], []
    context = torch.tensor(lead_in, dtype=torch.int64, device=prompts.device)
    per_row = zip(fields[KINDS].unbind(), fields[ANSWER].unbind(), lengths.tolist(), strict=True)
    for row, (kind, answer, length) in enumerate(per_row):
        if len(kind) != length + 1:
            raise ValueError(
                f"{KINDS} has {len(kind)} entries for row {row}, whose response has {length} tokens: it must have one "
                "more than the response; prepare the batch with the responses it is scored with"
            )
        if int(answer[0]) == NO_ANSWER:
            answers.append(answer[:0])
            continue
        answers.append(torch.cat((context, answer)))
        (cut,) = (kind != NO_CUT).nonzero(as_tuple=True)
        rows.append(torch.full_like(cut, row))
        cuts.append(cut)
        kinds.append(kind[cut])
    nothing = prompts.new_zeros(0)
    return CutPositions(
        row=torch.cat([nothing, *rows]),
        cut=torch.cat([nothing, *cuts]),
        kind=torch.cat([nothing, *kinds]),
        prompts=prompts,
        answers=answers,
        lead_in=len(lead_in),
    )
