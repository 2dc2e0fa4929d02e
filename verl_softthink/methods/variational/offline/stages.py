"""What the stages compute, shard by shard: plain records in, plain records out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_softthink.methods.variational.answers import log_accuracy, log_likelihood
from verl_softthink.methods.variational.groups import effective_sample_size, self_normalise
from verl_softthink.methods.variational.hints import hint_of, with_hint
from verl_softthink.methods.variational.importance import log_ratio
from verl_softthink.methods.variational.offline.likelihood import response_log_probs
from verl_softthink.methods.variational.offline.questions import Question
from verl_softthink.methods.variational.offline.settings import OfflineSettings
from verl_softthink.methods.variational.settings import ANSWER
from verl_softthink.thinking import marker_end

#: (prompts, count, temperature, max_tokens, seeds) to responses, as ``sampling.sample``.
Sampler = Callable[..., list[list[list[int]]]]


@dataclass(frozen=True)
class Stages:
    """The five computations with what they share."""

    settings: OfflineSettings
    tokenizer: PreTrainedTokenizerBase

    def prompts(self, record: dict) -> tuple[list[int], list[int]]:
        """Token ids of the question's prompt without and with its hint."""
        question = Question(**record["question"])
        hint = hint_of(question.as_row(), self.settings.hint)
        hinted = with_hint(question.messages, hint, self.settings.hint.template)
        return self._encode(question.messages), self._encode(hinted)

    def _encode(self, messages: list[dict]) -> list[int]:
        ids = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        return list(ids)

    def reference_answer(self, record: dict) -> list[int]:
        """Token ids of the reference answer and the end-of-sequence token."""
        text = self.settings.answer_template.replace(ANSWER, record["question"]["answer"])
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]

    def sample(self, records: Sequence[dict], sampler: Sampler) -> list[dict]:
        """Traces from the posterior, up to and with the marker; unfinished ones are left out."""
        responses = sampler(
            [self.prompts(record)[1] for record in records],
            count=self.settings.traces,
            temperature=self.settings.temperature,
            max_tokens=self.settings.max_trace_tokens,
            seeds=[self.settings.seed + record["question"]["index"] for record in records],
        )
        marker = self.tokenizer.encode(self.settings.end_of_thinking, add_special_tokens=False)
        sampled = []
        for record, group in zip(records, responses, strict=True):
            lengths = [marker_end(ids, marker) for ids in group]
            traces = [ids[:length] for ids, length in zip(group, lengths, strict=True) if length is not None]
            sampled.append(record | {"traces": traces, "unfinished": len(group) - len(traces)})
        return sampled

    def score(self, records: Sequence[dict], model: PreTrainedModel, posterior: PreTrainedModel) -> list[dict]:
        """Log-likelihood of every trace without and with the hint, and of the reference answer after it."""
        scored = []
        for record in records:
            prompt, hinted = self.prompts(record)
            with_reference = self.settings.answer != "accuracy"
            reference = self.reference_answer(record) if with_reference else []
            own, other, answers = [], [], []
            for trace in record["traces"]:
                log_probs = response_log_probs(model, prompt, trace + reference, 1.0)
                own.append(log_probs[: len(trace)].double().sum().item())
                answers.append(log_probs[len(trace) :].tolist())
                other.append(
                    response_log_probs(posterior, hinted, trace, self.settings.temperature).double().sum().item()
                )
            scored.append(record | {"model": own, "posterior": other, "answer_log_probs": answers})
        return scored

    def verify(self, records: Sequence[dict], sampler: Sampler, judge: Callable[..., float | dict]) -> list[dict]:
        """Verdicts of the model's own answers after every trace, and the first right answer."""
        prompts, seeds = [], []
        for record in records:
            prompt, _ = self.prompts(record)
            prompts += [prompt + trace for trace in record["traces"]]
            seeds += [self.settings.seed + record["question"]["index"]] * len(record["traces"])
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
            verdicts, right = [], []
            for trace in record["traces"]:
                answers = next(sampled)
                scores = [self._verdict(record, trace + answer, judge) for answer in answers]
                verdicts.append(scores)
                right.append(next((a for a, score in zip(answers, scores, strict=True) if score == max(scores)), []))
            verified.append(record | {"verdicts": verdicts, "answer_ids": right})
        return verified

    def _verdict(self, record: dict, ids: list[int], judge: Callable[..., float | dict]) -> float:
        row = Question(**record["question"]).as_row()
        result = judge(
            data_source=row["data_source"],
            solution_str=self.tokenizer.decode(ids, skip_special_tokens=True),
            ground_truth=row["reward_model"]["ground_truth"],
            extra_info=row["extra_info"],
            **self.settings.reward_kwargs,
        )
        return float(result["score"] if isinstance(result, dict) else result)

    def weigh(self, records: Sequence[dict]) -> list[dict]:
        """Self-normalised weights of every question's traces, and their effective sample size."""
        weighed = []
        for record in records:
            if not record["traces"]:
                weighed.append(record | {"weights": [], "effective_sample_size": 0.0})
                continue
            group = torch.zeros(len(record["traces"]), dtype=torch.int64)
            ratio = log_ratio(
                torch.tensor(record["model"], dtype=torch.float64),
                torch.tensor(record["posterior"], dtype=torch.float64),
                torch.tensor([len(trace) for trace in record["traces"]]),
                share=0.0,
                length_normalised=self.settings.importance == "length_normalised",
            )
            weights = self_normalise(ratio + self._answer_term(record), group)
            size = effective_sample_size(weights, group).item()
            weighed.append(record | {"weights": weights.tolist(), "effective_sample_size": size})
        return weighed

    def _answer_term(self, record: dict) -> torch.Tensor:
        if self.settings.answer == "accuracy":
            return log_accuracy(torch.tensor(record["verdicts"], dtype=torch.float64))
        log_probs = torch.tensor(record["answer_log_probs"], dtype=torch.float64)
        everywhere = torch.ones_like(log_probs, dtype=torch.bool)
        return log_likelihood(log_probs, everywhere, length_normalised=self.settings.answer == "geometric_mean")
