"""One audit: thoughts are drawn once, changed in every way, and answered again. All answers are greedy.

Graded is the text from the end of thinking on, so that no arm is right by what its thought shows. A thought that was
never answered counts as wrong wherever it stands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from verl_softthink.config.settings import LawSettings, PhaseSettings, RequestSettings
from verl_softthink.evaluation.audit.arms import ARMS, AS_THEY_ARE, Drawn, prefixes
from verl_softthink.evaluation.audit.outcomes import AuditedProblem, AuditedResponse, Mixtures
from verl_softthink.evaluation.audit.thought import Beginning, Prefix, beginning
from verl_softthink.evaluation.engine import Engine, EngineSettings, Rollout
from verl_softthink.evaluation.modes import Mode
from verl_softthink.evaluation.problems import EvaluationProblem
from verl_softthink.evaluation.run import CHUNK_REQUESTS, sample_seed
from verl_softthink.evaluation.scoring import grade, resolve_reward
from verl_softthink.files.checkpoint import chat_ids
from verl_softthink.rollout.phase.lead_in import lead_ins_of
from verl_softthink.rollout.prefix import encode_prefix
from verl_softthink.rollout.request import resolve
from verl_softthink.thinking import EndOfThinking, require_open_turn, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: The first answers, beside the arms.
SAMPLED = "sampled"


@dataclass(frozen=True)
class Audit:
    """What is audited, and how.

    Attributes:
        checkpoint: directory in Hugging Face's format.
        problems: at least two, because thoughts are shuffled between them.
        mode: the law and the filter that draw thoughts.
        phase: markers, budgets and answers.
        samples: thoughts of each problem; one in a deterministic mode.
        reward: what decides whether an answer is right, one of ``scoring.REWARDS``.
        pause: text of the token that stands in the place of mixtures.
        seed: of noise, shuffles and bootstrap.
        engine: sizes.

    Raises:
        ValueError: too few problems, or a law whose draws cannot be moved.
    """

    checkpoint: Path
    problems: Sequence[EvaluationProblem]
    mode: Mode
    phase: PhaseSettings
    samples: int
    reward: str
    pause: str
    seed: int
    engine: EngineSettings

    def __post_init__(self) -> None:
        if len(self.problems) < 2:
            raise ValueError(
                f"{len(self.problems)} problems: an audit takes thoughts of other problems; give 2 or more (--limit)"
            )
        if self.mode.law.rebuilds_embedding:
            raise ValueError(
                "softthink.law.fed='seed' rebuilds drawn embeddings at their own position alone, and an audit moves "
                "them; use --override law.fed=embedding"
            )

    @property
    def per_problem(self) -> int:
        """Thoughts of each problem."""
        return 1 if self.mode.deterministic else self.samples

    def chunks(self) -> list[Sequence[EvaluationProblem]]:
        """Consecutive problems that are audited together, of nearly equal numbers, at least two each."""
        size = max(2, CHUNK_REQUESTS // self.per_problem)
        count = max(1, len(self.problems) // size)
        bounds = [number * len(self.problems) // count for number in range(count + 1)]
        return [self.problems[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]


class Auditor:
    """Runs an audit.

    Args:
        tokenizer: of the checkpoint.

    Raises:
        ValueError: when pause, markers or prompts do not fit the tokenizer and the engine.
    """

    def __init__(self, audit: Audit, tokenizer: "PreTrainedTokenizerBase"):
        self._audit, self._tokenizer = audit, tokenizer
        self._end = EndOfThinking(tokenizer, audit.phase.end_of_thinking, audit.phase.match)
        self._pause = _one_token(tokenizer, audit.pause)
        self._lead_in = self._resolved_lead_in()
        require_open_turn(tokenizer, audit.phase.end_of_thinking, str(audit.checkpoint))
        self._prompts = {problem.index: chat_ids(tokenizer, problem.messages) for problem in audit.problems}
        for index, prompt in self._prompts.items():
            if len(prompt) > audit.engine.max_prompt_length:
                raise ValueError(
                    f"row {index}: the prompt has {len(prompt)} tokens; raise --max-prompt-length "
                    f"{audit.engine.max_prompt_length}"
                )

    def run(self, engine: Engine, progress: Callable[[str, int], None]) -> list[AuditedProblem]:
        """Audit all problems.

        Args:
            engine: with the checkpoint's weights and the audit's sizes.
            progress: called with the name of an arm and a number of answers, whenever they are there.
        """
        return [audited for chunk in self._audit.chunks() for audited in self._chunk(chunk, engine, progress)]

    def _chunk(
        self, problems: Sequence[EvaluationProblem], engine: Engine, progress: Callable[[str, int], None]
    ) -> list[AuditedProblem]:
        audit = self._audit
        asked = [problem for problem in problems for _ in range(audit.per_problem)]
        numbers = list(range(audit.per_problem)) * len(problems)
        seeds = [sample_seed(audit.seed, p.index, number) for p, number in zip(asked, numbers, strict=True)]
        prompts = [self._prompts[problem.index] for problem in asked]
        rollouts = engine.roll_out(prompts, [self._request(audit.mode.law, seed) for seed in seeds])
        progress(SAMPLED, len(rollouts))
        responses = [
            Drawn(problem=problem.index, seed=seed, beginning=self._beginning(rollout))
            for problem, seed, rollout in zip(asked, seeds, rollouts, strict=True)
        ]
        own = [None if one.beginning is None else one.beginning.prefix for one in responses]
        first = [
            [] if prefix is None else rollout.tokens[len(prefix.tokens) :]
            for prefix, rollout in zip(own, rollouts, strict=True)
        ]
        right, again = {SAMPLED: self._grade(asked, own, first)}, first
        for arm in ARMS:
            begun = prefixes(arm, responses, pause_token=self._pause, lead_in=self._lead_in, seed=audit.seed)
            answers = self._answers(engine, prompts, seeds, begun)
            right[arm] = self._grade(asked, begun, answers)
            if arm == AS_THEY_ARE:
                again = answers
            progress(arm, len(answers))
        audited: dict[int, list[AuditedResponse]] = {}
        for number, (problem, rollout) in enumerate(zip(asked, rollouts, strict=True)):
            audited.setdefault(problem.index, []).append(
                AuditedResponse(
                    right={arm: graded[number] for arm, graded in right.items()},
                    answered=own[number] is not None,
                    same=own[number] is not None and again[number] == first[number],
                    mixtures=Mixtures.of_trace(rollout.trace, audit.mode.law),
                )
            )
        return [AuditedProblem.of(index, found) for index, found in audited.items()]

    def _answers(
        self, engine: Engine, prompts: Sequence[list[int]], seeds: Sequence[int], begun: Sequence[Prefix | None]
    ) -> list[list[int]]:
        """The tokens behind each prefix; none where there is no prefix."""
        at = [number for number, prefix in enumerate(begun) if prefix is not None]
        requests = [
            self._request(begun[number].law, seeds[number], encode_prefix(begun[number].trace, begun[number].law))
            for number in at
        ]
        found = engine.roll_out([prompts[number] + begun[number].tokens for number in at], requests) if at else []
        answers: list[list[int]] = [[] for _ in begun]
        for number, rollout in zip(at, found, strict=True):
            answers[number] = rollout.tokens
        return answers

    def _grade(
        self, asked: Sequence[EvaluationProblem], begun: Sequence[Prefix | None], answers: Sequence[list[int]]
    ) -> list[bool]:
        reward = resolve_reward(self._audit.reward, asked[0].source)
        texts = [
            "" if prefix is None else self._text(prefix.tokens[prefix.ending :] + answer)
            for prefix, answer in zip(begun, answers, strict=True)
        ]
        graded = grade(texts, [problem.answers for problem in asked], reward)
        return [prefix is not None and correct for prefix, correct in zip(begun, graded, strict=True)]

    def _beginning(self, rollout: Rollout) -> Beginning | None:
        marker_length = self._marker_length(rollout) if rollout.trace.end_reason == "marker" else 0
        return beginning(rollout.trace, rollout.tokens, self._audit.mode.law, marker_length)

    def _marker_length(self, rollout: Rollout) -> int:
        """How many tokens wrote the marker that ended thinking."""
        end = rollout.trace.end_of_thinking
        span = self._end.find(rollout.tokens[: end + int(rollout.trace.drawn[end])])
        if span is None:
            raise RuntimeError(f"a thought that {self._audit.phase.end_of_thinking!r} ended does not hold it")
        return span.end - span.start

    def _request(self, law: LawSettings, seed: int, prefix: dict | None = None) -> RequestSettings:
        audit = self._audit
        return RequestSettings(law=law, filter=audit.mode.filter, phase=audit.phase, seed=seed, prefix=prefix)

    def _text(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    def _resolved_lead_in(self) -> tuple[int, ...]:
        """What is forced where thinking is cut short, as the engine's frontend resolves it."""
        engine = self._audit.engine
        lead_in = resolve(
            self._request(self._audit.mode.law, seed=0).model_dump(),
            max_tokens=engine.max_tokens,
            width=engine.candidates,
            carries_embeddings=engine.carries_embeddings,
            stop=self._tokenizer.eos_token_id,
            tokenize=lambda text: token_ids(self._tokenizer, text),
            spell=partial(lead_ins_of, self._tokenizer),
        ).lead_ins[0]
        if len(lead_in) >= engine.max_tokens:
            raise ValueError(
                f"--max-tokens {engine.max_tokens}: what ends thinking takes {len(lead_in)} tokens, and an answer has "
                "no room behind it; raise it"
            )
        return lead_in


def _one_token(tokenizer: "PreTrainedTokenizerBase", text: str) -> int:
    ids = token_ids(tokenizer, text)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(f"--pause {text!r} becomes the tokens {ids}; give a text that is one token of this model")
    return ids[0]
