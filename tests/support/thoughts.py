"""Traces of whole responses, drawn by any law from random logits, without an engine."""

import torch

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, Candidates
from verl_softthink.trace import SoftTrace

VOCABULARY, WIDTH, HIDDEN = 12, 5, 3
#: Tokens of the marker, of what is forced behind it, and of an answer; no thought shows one of them.
MARKER, ANSWER_PREFIX, ANSWER = (20, 21), (22,), (23, 24, 25)


def response(law: LawSettings, length: int, *, by_marker: bool = True, seed: int = 0) -> tuple[SoftTrace, list[int]]:
    """A thought of ``length`` positions, its end, and an answer.

    Thinking ends by a marker of two drawn tokens with a forced answer prefix behind, or by the budget.
    """
    drawn_at_end = len(MARKER) if by_marker else 0
    drawn = length + drawn_at_end
    generator = torch.Generator().manual_seed(seed)
    whole = LAWS[law.name].whole_vocabulary
    kept = VOCABULARY if whole else WIDTH
    logits = 2 * torch.randn(drawn, VOCABULARY, generator=generator)
    ids = torch.arange(VOCABULARY).expand(drawn, -1) if whole else logits.topk(kept).indices
    candidates = Candidates(ids=ids, log_probs=logits.gather(-1, ids).log_softmax(-1))
    index = torch.arange(drawn)
    noise = LAWS[law.name].noise(torch.full((drawn,), seed), index, candidates, WIDTH)
    columns = law.columns(drawn)
    action = LAWS[law.name].sample(candidates, columns, noise)
    slot = LAWS[law.name].shown_slot(action, columns)
    shown = action.ids.gather(-1, slot[:, None])[:, 0]
    ids, values = action.ids[:, :WIDTH].clone(), action.values[:, :WIDTH].clone()
    if by_marker:
        # The marker's draws show the marker's tokens.
        shown[length:] = torch.tensor(MARKER)
        ids[length:][torch.arange(len(MARKER)), slot[length:]] = torch.tensor(MARKER)
    forced = list(ANSWER_PREFIX) if by_marker else [*MARKER, *ANSWER_PREFIX]
    tokens = [*shown.tolist(), *forced, *ANSWER]
    position = torch.arange(len(tokens))

    def padded(values: torch.Tensor, fill: float = 0) -> torch.Tensor:
        return torch.cat((values, values.new_full((len(tokens) - drawn, *values.shape[1:]), fill)))

    noisy = LAWS[law.name].draws_embedding
    return SoftTrace(
        soft=position < drawn - by_marker,
        drawn=position < drawn,
        forced=(position >= drawn) & (position < drawn + len(forced)),
        discrete=torch.zeros(len(tokens), dtype=torch.bool),
        ids=padded(ids, NO_CANDIDATE).int(),
        values=padded(values),
        log_prob=padded(torch.full((drawn,), -1.0)),
        entropy=torch.full((len(tokens),), torch.nan),
        end_reason="marker" if by_marker else "budget",
        scale=padded(torch.full((drawn,), 0.5 if noisy else 0.0)),
        fed=padded(torch.randn(drawn, HIDDEN, generator=generator)) if noisy else None,
    ), tokens
