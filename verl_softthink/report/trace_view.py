"""What the page of traces shows of a response: its positions, their phases, candidates and numbers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, NO_CANDIDATE, Action
from verl_softthink.report.token_text import token_writer
from verl_softthink.trace import SoftTrace

THINKING, IN_TOKENS, ENDING = "thinking", "thinking in tokens", "end of thinking"
FORCED, ANSWERING = "forced", "answering"
#: ``SoftTrace.end_reason`` in words.
END_REASONS = {
    "none": "nothing: the response ended first",
    "marker": "the marker",
    "budget": "the budget",
    "cold_stop": "the cold stop",
    "switches": "the limit of switches",
    "bad_logits": "logits that were not numbers",
    "bad_draw": "a mixture that was not finite",
    "not_fed": "a mixture that the model did not look up",
}
#: Colours of the page: candidates beyond this rank share the last one.
COLOURED_RANKS = 5
# A thinner segment of a bar would be narrower than a pixel; the table below the bars lists every candidate.
_SMALLEST_SEGMENT = 0.005
#: A second candidate of at least this weight is written below the shown token.
_NAMED_WEIGHT = 0.05


@dataclass(frozen=True)
class TracedResponse:
    """One response and its trace.

    Attributes:
        trace: T positions.
        token_ids: the T token ids of the response.
        tokenizer: of the model that wrote it.
        law: the law that drew the trace.
        prompt: the prompt as text.
        answer: the right answer, where there is one.
        reward: what the response earned, where it was judged.
        pair: "first" or "second" of two responses to one prompt that stand side by side; None alone.
        pieces: per token the number of its piece of reasoning, -1 for none; where process rewards were computed.
        piece_rewards: per token the process reward of its piece.
    """

    trace: SoftTrace
    token_ids: Sequence[int]
    tokenizer: PreTrainedTokenizerBase
    law: LawSettings
    prompt: str
    answer: str | None = None
    reward: float | None = None
    pair: str | None = None
    pieces: Sequence[int] | None = None
    piece_rewards: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.trace):
            raise ValueError(
                f"token_ids has {len(self.token_ids)} tokens and trace {len(self.trace)} positions; "
                "cut both to the length of the response"
            )


@dataclass(frozen=True)
class _Candidate:
    token: str
    token_id: int
    weight: float
    rank: int

    @property
    def share(self) -> str:
        """The weight in per cent; one that is not 0 or 1 is not rounded to it."""
        shown = f"{100 * self.weight:.1f}"
        if shown == "0.0" and self.weight > 0:
            return "< 0.1 %"
        return "> 99.9 %" if shown == "100.0" and self.weight < 1 else f"{shown} %"


@dataclass(frozen=True)
class _Position:
    number: int
    token: str
    phase: str
    line_break: bool
    candidates: list[_Candidate]
    effective: float | None
    log_density: float | None
    entropy: float | None
    piece: int | None
    piece_reward: float | None
    tint: float

    @property
    def runner_up(self) -> str:
        """The second candidate's token, where it weighs enough to be named in the strip."""
        return (
            self.candidates[1].token if len(self.candidates) > 1 and self.candidates[1].weight >= _NAMED_WEIGHT else ""
        )

    @property
    def segments(self) -> list[_Candidate]:
        """The candidates that the bar shows."""
        return [candidate for candidate in self.candidates if candidate.weight >= _SMALLEST_SEGMENT]


def view(response: TracedResponse) -> dict[str, object]:
    """What the template needs of one response."""
    positions = _positions(response)
    mixed = [position for position in positions if position.effective is not None]
    effective = [position.effective for position in mixed]
    return {
        "law": _law(response.law),
        "prompt": response.prompt,
        "text": response.tokenizer.decode(list(response.token_ids), skip_special_tokens=False),
        "answer": response.answer,
        "reward": response.reward,
        "end_reason": END_REASONS[response.trace.end_reason],
        "soft": int(response.trace.soft.sum()),
        "mean_effective": math.fsum(effective) / len(effective) if effective else None,
        "positions": positions,
        "most_mixed": max(mixed, key=lambda position: position.effective).number if mixed else None,
        "pair": response.pair,
        "discrete": LAWS[response.law.name].single_token or not bool(response.trace.drawn.any()),
        "draws_embedding": LAWS[response.law.name].draws_embedding,
        "pieces": response.pieces is not None,
    }


def _law(law: LawSettings) -> str:
    """The law's name and parameters."""
    shown = (
        f"{key.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in law.parameters.items()
    )
    return ", ".join((law.name, *shown))


def _positions(response: TracedResponse) -> list[_Position]:
    trace, write = response.trace, token_writer(response.tokenizer)
    action = Action(ids=trace.ids.long(), values=trace.values)
    mixture = LAWS[response.law.name].mixture(action, response.law.columns(len(trace)))
    largest = max((abs(reward) for reward in response.piece_rewards or ()), default=0.0)
    positions = []
    for index, token_id in enumerate(response.token_ids):
        drawn = bool(trace.drawn[index])
        candidates = _candidates(mixture.ids[index], mixture.weights[index], write) if drawn else []
        entropy = float(trace.entropy[index])
        piece = int(response.pieces[index]) if response.pieces is not None else -1
        reward = float(response.piece_rewards[index]) if piece >= 0 else None
        positions.append(
            _Position(
                number=index + 1,
                token=write(int(token_id)),
                phase=_phase(trace, index),
                line_break="\n" in response.tokenizer.decode([int(token_id)]),
                candidates=candidates,
                effective=float(mixture.effective_tokens[index]) if drawn else None,
                log_density=float(trace.log_prob[index]) if drawn else None,
                entropy=None if math.isnan(entropy) else entropy,
                piece=piece + 1 if piece >= 0 else None,
                piece_reward=reward,
                tint=abs(reward) / largest if reward and largest else 0.0,
            )
        )
    return positions


def _candidates(ids: torch.Tensor, weights: torch.Tensor, write: Callable[[int], str]) -> list[_Candidate]:
    """The tokens of one mixture, largest weight first."""
    pairs = [(int(i), float(w)) for i, w in zip(ids, weights, strict=True) if i != NO_CANDIDATE]
    pairs.sort(key=lambda pair: -pair[1])
    return [
        _Candidate(write(token_id), token_id, weight, min(rank, COLOURED_RANKS))
        for rank, (token_id, weight) in enumerate(pairs, start=1)
    ]


def _phase(trace: SoftTrace, index: int) -> str:
    of_flags = ((trace.soft, THINKING), (trace.drawn, ENDING), (trace.forced, FORCED), (trace.discrete, IN_TOKENS))
    return next((phase for flag, phase in of_flags if flag[index]), ANSWERING)
