"""The places of a micro-batch where responses may be cut, flattened into one list."""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.methods.repro.answers import Copies
from verl_softthink.methods.repro.fields import ANSWER, KINDS, NO_ANSWER
from verl_softthink.methods.repro.segments import NO_CUT
from verl_softthink.methods.repro.selection import select_cuts


@dataclass(frozen=True)
class Places:
    """Q places in B sequences (prompt and response); a response without an answer to score has none.

    Attributes:
        row: [Q] int64, the sequence, not falling.
        cut: [Q] int64, how many response tokens stay.
        kind: [Q] int64, what may be cut (``segments``).
        prompts: [B] int64, tokens of each prompt.
        answers: B tensors, lead-in and answer; empty where there is none.
        lead_in: how many of them are not scored.
    """

    row: Tensor
    cut: Tensor
    kind: Tensor
    prompts: Tensor
    answers: list[Tensor]
    lead_in: int

    @property
    def prefix(self) -> Tensor:
        """[Q] tokens of the sequence, prompt included, that stay."""
        return self.prompts[self.row] + self.cut

    @property
    def first_token(self) -> Tensor:
        """[Q] the token that a copy begins with."""
        firsts = torch.stack([answer[0] if len(answer) else self.cut.new_zeros(()) for answer in self.answers])
        return firsts[self.row]

    def select(self, entropy: Tensor, segments: int) -> Tensor:
        """[C] int64, the places where the answer is scored, given the [Q] entropies of their next tokens."""
        chosen = []
        for row in self.row.unique_consecutive().tolist():
            (index,) = (self.row == row).nonzero(as_tuple=True)
            kinds = self.kind.new_full((int(self.cut[index[-1]]) + 1,), NO_CUT)
            entropies = entropy.new_zeros(len(kinds))
            kinds[self.cut[index]], entropies[self.cut[index]] = self.kind[index], entropy[index]
            kept = select_cuts(kinds, entropies, segments)
            chosen.append(index[torch.searchsorted(self.cut[index], kept)])
        return torch.cat(chosen) if chosen else self.row

    def copies(self, chosen: Tensor) -> Copies:
        """Copies of the answers at the chosen places."""
        row = self.row[chosen]
        return Copies(row, self.prefix[chosen], [self.answers[r] for r in row.tolist()], self.lead_in)

    def by_response(self, values: Tensor, chosen: Tensor) -> list[Tensor]:
        """Split [C] values of the chosen places by response; [1] zero for a response that has none."""
        counts = torch.bincount(self.row[chosen], minlength=len(self.answers)).tolist()
        return [part if len(part) else values.new_zeros(1) for part in values.split(counts)]


def find_places(fields: dict[str, Tensor], input_ids: Tensor, responses: Tensor, lead_in: list[int]) -> Places:
    """Flatten the places of a micro-batch.

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
    return Places(
        row=torch.cat([nothing, *rows]),
        cut=torch.cat([nothing, *cuts]),
        kind=torch.cat([nothing, *kinds]),
        prompts=prompts,
        answers=answers,
        lead_in=len(lead_in),
    )
