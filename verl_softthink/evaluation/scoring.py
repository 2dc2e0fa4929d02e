"""Right or wrong, by the reward functions of training; a sample counts as right where they give 1."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from verl_softthink.data import math_reward
from verl_softthink.data.math_verify_pool import PROCESSES
from verl_softthink.pocket import reward as pocket_reward
from verl_softthink.pocket.data import DATA_SOURCE

#: Data sets of the pocket tasks are named pocket/<task>.
_POCKET = f"{DATA_SOURCE.partition('/')[0]}/"
REWARDS = ("auto", "pocket", *math_reward.GRADERS)


def resolve_reward(reward: str, source: str) -> str:
    """The reward that ``auto`` stands for: the pocket tasks' own, math-verify for every other data set."""
    if reward != "auto":
        return reward
    return "pocket" if source.startswith(_POCKET) else "math_verify"


def grade(texts: Sequence[str], answers: Sequence[Sequence[str]], reward: str) -> list[bool]:
    """Whether each response gives one of its accepted answers.

    Args:
        texts: [N] decoded responses.
        answers: [N] accepted answers of each.
        reward: one of ``REWARDS`` but ``auto``.

    Raises:
        RewardSetupError: an answer that is missing, or that the grader ``number`` cannot read.
        ModuleNotFoundError: math-verify is asked for and not installed.
    """
    # Sampled responses repeat themselves, and math-verify takes milliseconds.
    pairs = [(text, answer) for text, accepted in zip(texts, answers, strict=True) for answer in accepted]
    unique = list(dict.fromkeys(pairs))
    with ThreadPoolExecutor(PROCESSES) as pool:
        right = dict(zip(unique, pool.map(lambda pair: _score(*pair, reward) == 1, unique), strict=True))
    return [any(right[text, answer] for answer in accepted) for text, accepted in zip(texts, answers, strict=True)]


def _score(text: str, answer: str, reward: str) -> float:
    if reward == "pocket":
        return pocket_reward.compute_score(DATA_SOURCE, text, answer)
    return math_reward.compute_score("evaluation", text, answer, grader=reward)["score"]
