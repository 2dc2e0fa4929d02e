"""What the stages compute, shard by shard: one plain record per question in and out, and at the end the training rows.

Training rows hold token ids rather than messages: many chat templates drop or rewrite thinking when they render a
finished conversation, and exactly these tokens were scored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_softthink.files.checkpoint import chat_ids
from verl_softthink.methods.variational.offline.models import response_log_probs
from verl_softthink.methods.variational.offline.questions import Question
from verl_softthink.methods.variational.offline.settings import OfflineSettings
from verl_softthink.methods.variational.settings import ANSWER
from verl_softthink.methods.variational.thoughts import hint_of, with_hint
from verl_softthink.methods.variational.weighting import (
    effective_sample_size,
    log_accuracy,
    log_likelihood,
    log_ratio,
    self_normalise,
)
from verl_softthink.thinking import EndOfThinking, require_open_turn

#: (prompts, count, temperature, max_tokens, seeds) to responses, as ``models.sample``.
Sampler = Callable[..., list[list[list[int]]]]
#: verl's interface of a reward function.
Reward = Callable[..., float | dict]


@dataclass(frozen=True)
class Stages:
    """The computations, with the settings and the tokenizer that they share."""

    settings: OfflineSettings
    tokenizer: PreTrainedTokenizerBase

    def __post_init__(self):
        require_open_turn(self.tokenizer, self.settings.end_of_thinking, f"model={self.settings.model}")

    def prompts(self, record: dict) -> tuple[list[int], list[int]]:
        """Token ids of the question's prompt without and with its hint."""
        question = Question(**record["question"])
        hint = hint_of(question.as_row(), self.settings.hint)
        hinted = with_hint(question.messages, hint, self.settings.hint.template)
        return self._encode(question.messages), self._encode(hinted)

    def _encode(self, messages: list[dict]) -> list[int]:
        return chat_ids(self.tokenizer, messages)

    def reference_answer(self, record: dict) -> list[int]:
        """Token ids of the reference answer and the end-of-sequence token."""
        text = self.settings.answer_template.replace(ANSWER, record["question"]["answer"])
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]

    def sample(self, records: Sequence[dict], sampler: Sampler) -> list[dict]:
        """Thoughts from the posterior, up to and with the marker; unfinished ones are left out and counted."""
        responses = sampler(
            [self.prompts(record)[1] for record in records],
            count=self.settings.thoughts,
            temperature=self.settings.temperature,
            max_tokens=self.settings.max_thought_tokens,
            seeds=[self.settings.seed + record["question"]["index"] for record in records],
        )
        end = EndOfThinking(self.tokenizer, self.settings.end_of_thinking)
        sampled = []
        for record, group in zip(records, responses, strict=True):
            spans = [end.find(ids) for ids in group]
            thoughts = [ids[: span.end] for ids, span in zip(group, spans, strict=True) if span is not None]
            sampled.append(record | {"thoughts": thoughts, "unfinished": len(group) - len(thoughts)})
        return sampled

    def score(self, records: Sequence[dict], model: PreTrainedModel, posterior: PreTrainedModel) -> list[dict]:
        """Log-likelihood of every thought without and with the hint, and log-probs of the reference answer after it."""
        scored = []
        for record in records:
            prompt, hinted = self.prompts(record)
            with_reference = self.settings.answer != "accuracy"
            reference = self.reference_answer(record) if with_reference else []
            own, other, answers = [], [], []
            for thought in record["thoughts"]:
                log_probs = response_log_probs(model, prompt, thought + reference, 1.0)
                own.append(log_probs[: len(thought)].double().sum().item())
                answers.append(log_probs[len(thought) :].tolist())
                other.append(
                    response_log_probs(posterior, hinted, thought, self.settings.temperature).double().sum().item()
                )
            scored.append(record | {"model": own, "posterior": other, "answer_log_probs": answers})
        return scored

    def verify(self, records: Sequence[dict], sampler: Sampler, reward: Reward) -> list[dict]:
        """Rewards of the model's own answers after every thought, and the first of the best answers."""
        prompts, seeds = [], []
        for record in records:
            prompt, _ = self.prompts(record)
            prompts += [prompt + thought for thought in record["thoughts"]]
            seeds += [self.settings.seed + record["question"]["index"]] * len(record["thoughts"])
        sampled = iter(
            sampler(
                prompts,
                count=self.settings.answers,
                temperature=1.0,
                max_tokens=self.settings.max_answer_tokens,
                seeds=seeds,
            )
        )
        verified = []
        for record in records:
            rewards, best = [], []
            for thought in record["thoughts"]:
                answers = next(sampled)
                scores = [self._reward(record, thought + answer, reward) for answer in answers]
                rewards.append(scores)
                best.append(answers[scores.index(max(scores))])
            verified.append(record | {"rewards": rewards, "answer_ids": best})
        return verified

    def _reward(self, record: dict, ids: list[int], reward: Reward) -> float:
        row = Question(**record["question"]).as_row()
        result = reward(
            data_source=row["data_source"],
            solution_str=self.tokenizer.decode(ids, skip_special_tokens=True),
            ground_truth=row["reward_model"]["ground_truth"],
            extra_info=row["extra_info"],
            **self.settings.reward_kwargs,
        )
        return float(result["score"] if isinstance(result, dict) else result)

    def weigh(self, records: Sequence[dict]) -> list[dict]:
        """Self-normalised weights of every question's thoughts, and their effective sample size."""
        weighed = []
        for record in records:
            if not record["thoughts"]:
                weighed.append(record | {"weights": [], "effective_sample_size": 0.0})
                continue
            group = torch.zeros(len(record["thoughts"]), dtype=torch.int64)
            ratio = log_ratio(
                torch.tensor(record["model"], dtype=torch.float64),
                torch.tensor(record["posterior"], dtype=torch.float64),
                torch.tensor([len(thought) for thought in record["thoughts"]]),
                share=0.0,
                length_normalised=self.settings.importance == "length_normalised",
            )
            weights = self_normalise(ratio + self._answer_term(record), group)
            size = effective_sample_size(weights, group).item()
            weighed.append(record | {"weights": weights.tolist(), "effective_sample_size": size})
        return weighed

    def _answer_term(self, record: dict) -> torch.Tensor:
        if self.settings.answer == "accuracy":
            return log_accuracy(torch.tensor(record["rewards"], dtype=torch.float64))
        log_probs = torch.tensor(record["answer_log_probs"], dtype=torch.float64)
        mask = torch.ones_like(log_probs, dtype=torch.bool)
        return log_likelihood(log_probs, mask, length_normalised=self.settings.answer == "geometric_mean")


def training_rows(records: Sequence[dict], stages: Stages) -> list[dict]:
    """Rows for verl's SFT trainer of all weighed questions; the mean weight is 1.

    Raises:
        ValueError: when no thought has weight.
    """
    build = _weighted if stages.settings.keep == "weighted" else _best
    rows = [row for record in records for row in build(record, stages)]
    total = sum(row["weight"] for row in rows)
    if not total:
        raise ValueError(
            "no thought led to a right answer, so there is nothing to train on; sample more thoughts (--thoughts), or "
            "look at the answers in the stage 'verify'"
        )
    return [row | {"weight": row["weight"] * len(rows) / total} for row in rows]


def _weighted(record: dict, stages: Stages) -> list[dict]:
    return [
        _row(record, stages, thought + answer, weight)
        for thought, answer, weight in zip(record["thoughts"], _answers(record, stages), record["weights"], strict=True)
        if weight > 0
    ]


def _best(record: dict, stages: Stages) -> list[dict]:
    rows = []
    if any(record["weights"]):
        best = max(range(len(record["weights"])), key=record["weights"].__getitem__)
        rows.append(_row(record, stages, record["thoughts"][best] + _answers(record, stages)[best], 1.0))
    question = Question(**record["question"])
    if question.thought:
        text = f"{question.thought}{stages.settings.end_of_thinking}{question.solution}"
        ids = stages.tokenizer.encode(text, add_special_tokens=False)
        rows.append(_row(record, stages, [*ids, stages.tokenizer.eos_token_id], 1.0))
    return rows


def _answers(record: dict, stages: Stages) -> list[list[int]]:
    """The answer after each thought: the first right one that was sampled, or the reference answer."""
    if stages.settings.answer == "accuracy":
        return record["answer_ids"]
    return [stages.reference_answer(record)] * len(record["thoughts"])


def _row(record: dict, stages: Stages, response: list[int], weight: float) -> dict:
    prompt, _ = stages.prompts(record)
    return {
        "prompt_ids": prompt,
        "response_ids": response,
        "weight": weight,
        "question": record["question"]["messages"][-1]["content"],
        "response": stages.tokenizer.decode(response),
    }
