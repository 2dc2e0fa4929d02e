"""No answer ends a run: an exception of a reward function is score 0, counted, and logged once for each answer.

verl calls reward functions in workers whose exceptions end the training. In runs with a ``softthink`` node every reward
function that is loaded, the user's and verl's own, is therefore ``guarded``. Each verdict says whether it is a failure
under ``grader_failure``: ``softthink/grader_failures`` counts them in training, and verl's validation reports their
share as ``val-aux/<data source>/grader_failure/mean@N``.

A mistake of the set-up is no verdict on an answer, and still ends the run: ``RewardSetupError``, a missing package
(ImportError), and verl's NotImplementedError for a ``data_source`` that its own scorer does not know.
"""

import functools
import hashlib
import inspect
import logging
import math
from collections.abc import Callable
from decimal import Decimal
from numbers import Integral, Real
from types import ModuleType
from typing import Any, Self

logger = logging.getLogger(__name__)

#: Key of a verdict: 1.0 where the grader failed on the answer, else 0.0.
FAILURE = "grader_failure"
#: Digests that a process remembers in order to log an answer once.
REMEMBERED = 4_096
#: Characters of a reason that are logged: exceptions may quote a whole response.
LONGEST_REASON = 200


class RewardSetupError(ValueError):
    """The reward function cannot grade any answer as it is set up; the message names the key and the fix."""


SETUP_ERRORS = (RewardSetupError, ImportError, NotImplementedError)


def no_answer(truth: object) -> bool:
    """Whether it is None, NaN or blank, or such a value written as text."""
    return str(truth).strip().lower() in ("", "none", "null", "nan")


def answer_text(truth: object) -> str:
    """A right answer as text, without white space around it.

    Raises:
        ValueError: it is neither a text nor a finite number, or says that there is none.
    """
    number = isinstance(truth, Real | Decimal) and not isinstance(truth, bool)
    if not (isinstance(truth, str) or (number and (isinstance(truth, Integral) or math.isfinite(truth)))):
        raise ValueError(f"the answer is {truth!r:.200}, neither a text nor a finite number")
    if no_answer(truth):
        raise ValueError(f"the answer is {truth!r}, which is none")
    return str(truth).strip()


def check_ground_truth(truth: object) -> str:
    """The right answer as text.

    Raises:
        RewardSetupError: there is none.
    """
    try:
        return answer_text(truth)
    except ValueError as error:
        raise RewardSetupError(
            f"reward_model.ground_truth is {truth!r:.200}, which is no answer: give the row one, or leave it out of "
            "the data"
        ) from error


def report_failure(answer: str, reason: str) -> None:
    """Log that a grader failed on an answer, once for each answer; its digest tells which without quoting it."""
    _report(hashlib.blake2s(answer.encode("utf-8", "surrogatepass")).hexdigest()[:16], reason[:LONGEST_REASON])


@functools.lru_cache(maxsize=REMEMBERED)
def _report(digest: str, reason: str) -> None:
    logger.warning("the grader failed on the answer with digest %s, which is scored 0: %s", digest, reason)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with verl's signature, synchronous or not, that returns a verdict for every answer.

    Returns:
        A function of the same kind that returns what the given one does, as a dict with ``grader_failure``. A bare
        score becomes ``score`` and ``acc``, as verl's reward managers report it. A failure has 0 for both, and for the
        other numbers of earlier verdicts, so that all rows have the same keys.
    """
    keys: set[str] = {"score", "acc"}
    if inspect.iscoroutinefunction(function):

        async def grade_later(*, solution_str: str, **arguments: Any) -> dict[str, Any]:
            with _Verdict(solution_str, keys) as verdict:
                verdict.take(await function(solution_str=solution_str, **arguments))
            return verdict.values

        return grade_later

    def grade(*, solution_str: str, **arguments: Any) -> dict[str, Any]:
        with _Verdict(solution_str, keys) as verdict:
            verdict.take(function(solution_str=solution_str, **arguments))
        return verdict.values

    return grade


class _Verdict:
    """The verdict on one answer; whatever its block raises, but for a mistake of the set-up, makes it a failure.

    Args:
        solution: the answer.
        keys: names of the numbers of all verdicts so far; those of this one are added.
    """

    def __init__(self, solution: str, keys: set[str]):
        self._solution, self._keys = solution, keys
        self.values: dict[str, Any] = {}

    def take(self, result: Any) -> None:
        """Take what the reward function returned."""
        result = dict(result) if isinstance(result, dict) else {"score": result, "acc": result}
        if not math.isfinite(float(result["score"])):
            raise ValueError(f"the score is {result['score']!r}, not a finite number")
        self._keys.update(key for key, value in result.items() if isinstance(value, int | float))
        self.values = {FAILURE: 0.0} | result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        # Anybody's code on any text may raise anything; a request to stop (KeyboardInterrupt ...) is no error of it.
        if not isinstance(error, Exception) or isinstance(error, SETUP_ERRORS):
            return False
        report_failure(self._solution, f"{type(error).__name__}: {error}")
        self.values = dict.fromkeys(sorted(self._keys), 0.0) | {FAILURE: 1.0}
        return True


def register(reward: ModuleType) -> None:
    """``verl.trainer.ppo.reward``: guard what it loads for runs with a ``softthink`` node."""
    load = reward.get_custom_reward_fn

    @functools.wraps(load)
    def get_custom_reward_fn(config: Any) -> Callable[..., Any] | None:
        function = load(config)
        if config.get("softthink") is None:
            return function
        if function is None and not (config.reward.get("sandbox_fusion") or {}).get("url"):
            function = reward.get_default_compute_score(config.reward.reward_manager.name)
        return guarded(function) if function is not None else None

    reward.get_custom_reward_fn = get_custom_reward_fn
