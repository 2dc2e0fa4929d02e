"""Responses against the texts that a method looks for in them: where none contains it, there is nothing to learn from.

The first responses of a run are looked at so, and those that the doctor samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from verl_softthink.thinking import EndOfThinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from verl_softthink.config.settings import SoftThinkSettings

#: Fewest right responses that must all lack the scored text: a single one may write an equal answer in other words.
_SEVERAL = 4


@dataclass(frozen=True)
class Responses:
    """N responses.

    Attributes:
        origin: whose they are, behind a noun in a sentence, e.g. "of the first step".
        texts: what each response reads, special tokens included.
        pieces: of each response the texts of its tokens, each decoded by itself.
        thought_lengths: of each response its tokens before the end-of-thinking marker; all where it has none.
        marker: text of ``softthink.phase.end_of_thinking``.
        answers: ground truth of each; None where its row has none.
        scores: [N] rewards; None where nobody has graded them.
    """

    origin: str
    texts: Sequence[str]
    pieces: Sequence[Sequence[str]]
    thought_lengths: Sequence[int]
    marker: str
    answers: Sequence[str | None]
    scores: Float[Tensor, " N"] | None = None

    @classmethod
    def of_ids(
        cls,
        tokenizer: "PreTrainedTokenizerBase",
        ids: Sequence[Sequence[int]],
        *,
        origin: str,
        marker: str | Sequence[int],
        answers: Sequence[object],
        scores: Float[Tensor, " N"] | None = None,
    ) -> "Responses":
        """Read N responses, given as token ids; ``marker`` is a text or token ids, ``answers`` may hold any objects."""
        known = {token: tokenizer.decode([token]) for token in {token for row in ids for token in row}}
        end = EndOfThinking(tokenizer, marker)
        spans = [end.find(row) for row in ids]
        return cls(
            origin=origin,
            texts=[tokenizer.decode(row) for row in ids],
            pieces=[[known[token] for token in row] for row in ids],
            thought_lengths=[len(row) if span is None else span.start for row, span in zip(ids, spans, strict=True)],
            marker=marker if isinstance(marker, str) else tokenizer.decode(list(marker)),
            answers=[None if answer is None or not str(answer) else str(answer) for answer in answers],
            scores=scores,
        )

    @property
    def noun(self) -> str:
        """For sentences, behind "none of"."""
        return f"the {len(self.texts)} responses {self.origin}"

    def contain(self, text: str) -> bool:
        """Whether any of them contains a text."""
        return any(text in response for response in self.texts)

    @property
    def thoughts(self) -> list[Sequence[str]]:
        """The pieces of each response before its end-of-thinking marker; all of them where it has none."""
        return [row[:length] for row, length in zip(self.pieces, self.thought_lengths, strict=True)]


def unmarked(responses: Responses, settings: "SoftThinkSettings", consequence: str) -> list[str]:
    """A sentence where no response of discrete tokens contains the end-of-thinking marker.

    Under a law it is the trace that says how thinking ended, which every soft recipe is warned of.

    Args:
        settings: of the node.
        consequence: what the method makes of a response without the marker.
    """
    if settings.law is not None or responses.contain(responses.marker):
        return []
    return [
        f"softthink.phase.end_of_thinking={settings.phase.end_of_thinking!r}: none of {responses.noun} contains it, so "
        f"{consequence}. Name a text that this model writes at the end of its thinking, ask for it in the prompt, or "
        "raise data.max_response_length if responses are cut before it"
    ]


def unwritten_answer(responses: Responses, key: str, template: str, slot: str) -> list[str]:
    """A sentence where the text that stands for the right answer is none that this model writes.

    Args:
        key: of the template in the configuration.
        template: the text of an answer.
        slot: what the template has in place of the ground truth.
    """
    what, written = f"{key}={template!r}", template.partition(slot)[0].strip()
    if not any(responses.answers):
        return [
            f"{what}: none of {responses.noun} has a right answer to put in, so no likelihood can be scored; give the "
            "rows of data.train_files a reward_model.ground_truth"
        ]
    if not responses.contain(written):
        return [
            f"{what}: none of {responses.noun} contains {written!r}, so the likelihood that is scored is that of a "
            "text which this model does not write; write the template as the model writes its answers, or ask for "
            "that form in the prompt"
        ]
    right = _right(responses)
    scored = [template.replace(slot, answer) for _, answer in right]
    if len(right) < _SEVERAL or any(text in response for (response, _), text in zip(right, scored, strict=True)):
        return []
    return [
        f"{what}: none of the {len(right)} best responses {responses.origin} contains the text that is scored for its "
        f"problem, such as {scored[0]!r}; write the template, or reward_model.ground_truth, as the model writes answers"
    ]


def _right(responses: Responses) -> list[tuple[str, str]]:
    """Text and ground truth of the responses with the highest score, where scores differ."""
    scores = responses.scores
    if scores is None or bool((scores == scores[0]).all()):
        return []
    rows = zip(responses.texts, responses.answers, (scores == scores.max()).tolist(), strict=True)
    return [(text, answer) for text, answer, best in rows if best and answer is not None]
