"""One measurement: batches of rollouts from vLLM, and the gradient that training would take of each.

Every batch has prompts of its own and B batches share none, so their gradients are independent: they vary by prompts,
draws and answers, as from one step of training to the next at fixed weights. All modes meet the same prompts.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from verl_softthink.bench.report import hardware, versions
from verl_softthink.config.settings import PhaseSettings, RequestSettings
from verl_softthink.evaluation.engine import Engine, EngineSettings
from verl_softthink.evaluation.gradient.batches import GradedRollout, engine_batch
from verl_softthink.evaluation.gradient.losses import LOSSES, advantages, on_policy
from verl_softthink.evaluation.gradient.policy import ALL, Policy
from verl_softthink.evaluation.gradient.signal import FEWEST_BATCHES, inner_products, measure
from verl_softthink.evaluation.modes import Mode
from verl_softthink.evaluation.problems import EvaluationProblem
from verl_softthink.evaluation.run import sample_seed
from verl_softthink.evaluation.scoring import grade, resolve_reward
from verl_softthink.files.checkpoint import chat_ids, check_model, load_tokenizer
from verl_softthink.laws import LAWS
from verl_softthink.thinking import require_open_turn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GradientBench:
    """What is measured, and how.

    Attributes:
        checkpoint: directory in Hugging Face's format.
        problems: of the file, of which ``batches`` times ``prompts`` are drawn.
        modes: laws with a likelihood, and their settings.
        phase: markers, budgets and answers.
        batches: independent batches; their gradients are held in host memory.
        prompts, responses: prompts of a batch, and responses to each.
        loss: name in ``losses.LOSSES``.
        reward: what decides whether an answer is right, one of ``scoring.REWARDS``.
        micro_batch: responses of a forward pass at most.
        seed: of prompts and noise.
        engine: sizes, and the temperature of ordinary tokens.

    Raises:
        ValueError: a mode that cannot be trained, too few problems, batches or responses.
    """

    checkpoint: Path
    problems: Sequence[EvaluationProblem]
    modes: Sequence[Mode]
    phase: PhaseSettings
    batches: int
    prompts: int
    responses: int
    loss: str
    reward: str
    micro_batch: int
    seed: int
    engine: EngineSettings

    def __post_init__(self) -> None:
        for mode in self.modes:
            if not LAWS[mode.law.name].trainable or mode.deterministic:
                raise ValueError(
                    f"--modes {mode.name}: its draws are certain or have no likelihood, so there is no policy "
                    "gradient; leave it out"
                )
        needed = self.batches * self.prompts
        if len(self.problems) < needed:
            raise ValueError(
                f"{len(self.problems)} problems: --batches {self.batches} of --prompts {self.prompts} share none, so "
                f"{needed} are needed; lower one of the two, or give more data"
            )
        if self.batches < FEWEST_BATCHES or self.responses < 2:
            raise ValueError(
                f"--batches {self.batches}, --responses {self.responses}: a variance needs {FEWEST_BATCHES} batches or "
                "more, and an advantage within the group 2 responses or more"
            )

    def drawn_problems(self) -> list[EvaluationProblem]:
        """Those of all batches, one batch after another."""
        return random.Random(self.seed).sample(list(self.problems), self.batches * self.prompts)


def roll_out(bench: GradientBench) -> dict[str, list[GradedRollout]]:
    """By mode the responses of all batches, those to a prompt one after another.

    Raises:
        FileError: the checkpoint is damaged.
        ValueError: a prompt is too long, or the chat template begins the turn with the marker.
    """
    check_model(bench.checkpoint)
    tokenizer = load_tokenizer(bench.checkpoint)
    require_open_turn(tokenizer, bench.phase.end_of_thinking, f"--checkpoint {bench.checkpoint}")
    drawn = bench.drawn_problems()
    problems = [problem for problem in drawn for _ in range(bench.responses)]
    prompts = [chat_ids(tokenizer, problem.messages) for problem in problems]
    if (longest := max(map(len, prompts))) > bench.engine.max_prompt_length:
        raise ValueError(
            f"a prompt has {longest} tokens; raise --max-prompt-length {bench.engine.max_prompt_length}, or leave the "
            "problem out"
        )
    numbers = range(bench.responses)
    seeds = [sample_seed(bench.seed, problem.index, number) for problem in drawn for number in numbers]
    reward = resolve_reward(bench.reward, problems[0].source)
    found = {}
    with Engine.opened(bench.checkpoint, bench.engine) as engine:
        for mode in bench.modes:
            requests = [
                RequestSettings(law=mode.law, filter=mode.filter, phase=bench.phase, seed=seed) for seed in seeds
            ]
            responses = engine.roll_out(prompts, requests)
            right = grade([each.text for each in responses], [problem.answers for problem in problems], reward)
            found[mode.name] = [
                GradedRollout(prompt=prompt, rollout=rollout, seed=seed, reward=float(correct))
                for prompt, rollout, seed, correct in zip(prompts, responses, seeds, right, strict=True)
            ]
            logger.info("%s: %d responses, %.2f right", mode.name, len(responses), sum(right) / len(right))
    return found


def signals(bench: GradientBench, rollouts: Mapping[str, list[GradedRollout]]) -> dict:
    """Measure every mode on its rollouts.

    Returns:
        by mode accuracy, share of groups with right and wrong responses, drawn positions a response, and by group of
        parameters the fields of ``Signal``; settings, hardware and versions.
    """
    policy = Policy(bench.checkpoint)
    return {
        "bench": "gradient",
        "modes": {mode.name: _measure(bench, mode, rollouts[mode.name], policy) for mode in bench.modes},
        "settings": _settings(bench),
        "hardware": hardware(),
        "versions": versions(),
    }


def _measure(bench: GradientBench, mode: Mode, rollouts: list[GradedRollout], policy: Policy) -> dict:
    loss = LOSSES[bench.loss]
    actor_loss, size = on_policy(loss), bench.prompts * bench.responses
    by_group: dict[str, list] = {}
    for start in range(0, len(rollouts), size):
        batch = rollouts[start : start + size]
        advantage = advantages(loss, [each.reward for each in batch], bench.responses)
        fed = engine_batch(
            batch, advantage, mode, answer_temperature=bench.engine.answer_temperature, micro_batch=bench.micro_batch
        )
        for group, gradient in policy.gradients(fed, actor_loss).items():
            by_group.setdefault(group, []).append(gradient)
    products = {group: inner_products(gradients) for group, gradients in by_group.items()}
    products[ALL] = sum(products.values())
    rewards = [each.reward for each in rollouts]
    groups = [set(rewards[first : first + bench.responses]) for first in range(0, len(rewards), bench.responses)]
    return {
        "accuracy": sum(rewards) / len(rewards),
        "mixed_groups": sum(len(group) > 1 for group in groups) / len(groups),
        "drawn_positions": sum(int(each.rollout.trace.drawn.sum()) for each in rollouts) / len(rollouts),
        "groups": {group: asdict(measure(each)) for group, each in products.items()},
    }


def _settings(bench: GradientBench) -> dict:
    plain = {name: getattr(bench, name) for name in ("batches", "prompts", "responses", "loss", "reward", "seed")}
    modes = {mode.name: {"law": mode.law.model_dump(), "filter": mode.filter.model_dump()} for mode in bench.modes}
    return plain | {
        "checkpoint": str(bench.checkpoint),
        "phase": bench.phase.model_dump(),
        "modes": modes,
        "engine": asdict(bench.engine),
    }
