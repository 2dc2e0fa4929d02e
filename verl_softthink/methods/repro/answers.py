"""The mean log-likelihood of the right answer after every cut of a micro-batch.

    J_c = (1 / A) sum_i log pi(a_i | prompt, response_<c, lead-in, a_<i)

Of a copy [lead-in, answer] only the tokens before the last one are fed. Without a lead-in, ``a_1`` is scored by the
logits that the kept pass has at the prefix's last token, which also give the entropy that ranks the cut; so an answer
of one token costs no second forward pass at all. Likelihoods are those of the policy as it samples, at the batch's
temperature.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.methods.repro.answer_attention import AnswerTokens

#: Rows of logits that are turned to float32 at once.
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Copies:
    """C copies of answers, one per cut of the micro-batch, in the order of the sequences.

    Attributes:
        row: [C] int64, the sequence.
        prefix: [C] int64, tokens of the sequence (prompt included) before the copy.
        tokens: C tensors [F + A]: lead-in and answer.
        lead_in: F, how many tokens of a copy are not scored.
    """

    row: Tensor
    prefix: Tensor
    tokens: list[Tensor]
    lead_in: int

    def fed(self) -> tuple[AnswerTokens, Tensor]:
        """The answer tokens that are fed, and their ids [M]."""
        device = self.row.device
        lengths = torch.tensor([len(tokens) - 1 for tokens in self.tokens], dtype=torch.int64, device=device)
        copy = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        offset = torch.arange(len(copy), device=device) - (lengths.cumsum(0) - lengths)[copy]
        ids = torch.cat([tokens[:-1] for tokens in self.tokens]) if self.tokens else lengths
        return AnswerTokens(self.row[copy], copy, self.prefix[copy], offset), ids

    def surrogate(self, first: Tensor, following: Tensor) -> Tensor:
        """[C] mean log-likelihoods.

        Args:
            first: [C] log-probability of each copy's first token.
            following: [M] log-probability, at every fed token, of the token after it.
        """
        tokens, _ = self.fed()
        scored = following.where(tokens.offset + 1 >= self.lead_in, 0.0)
        total = first.new_zeros(len(first)).index_add(0, tokens.copy, scored)
        if self.lead_in == 0:
            total = total + first
        lengths = torch.tensor([len(tokens) - self.lead_in for tokens in self.tokens], device=first.device)
        return total / lengths

    def targets(self) -> Tensor:
        """[M] ids of the tokens after the fed ones."""
        return torch.cat([tokens[1:] for tokens in self.tokens])


def entropy_and_log_prob(logits: Tensor, rows: Tensor, ids: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of next-token distributions, and the log-probability of one token of each.

    Args:
        logits: [..., V] raw logits, any dtype.
        rows: [R] int64 flattened positions of ``logits``.
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
