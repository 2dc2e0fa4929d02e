"""Reward of a mathematical answer: 1 when it is right, 0 when it is not. verl's signature, loadable by path.

    reward.custom_reward_function.path=pkg://verl_softthink.data.math_reward

Where the answer is looked for, first match wins: the last ``\\boxed{...}``; what follows the last ``####``; the last
number of the text. Two graders:

* ``number`` (default): compares values exactly, so 1,200 equals 1200.0 and 0.5 equals 1/2; nothing beyond the
  standard library.
* ``math_verify``: mathematical equality of expressions, sets and intervals, by the package math-verify;
  ``+reward.custom_reward_function.reward_kwargs.grader=math_verify``.
"""

import importlib.util
import re
from fractions import Fraction

GRADERS = ("number", "math_verify")
# A minus right after a digit, a letter or a bracket is a subtraction, and the other sign is the typographical minus.
_NUMBER = re.compile(r"(?:(?<![\w)\]])[-\u2212])?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?|(?<!\d)\.\d+")
_MARKER = "####"
_BOX = "\\boxed{"


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict | None = None,
    *,
    grader: str = "number",
    **other: object,
) -> float:
    """1.0 for a right answer and 0.0 for a wrong or missing one.

    Args:
        data_source, extra_info, other: what verl passes to every reward function; the answer alone decides here.
        solution_str: the decoded response.
        ground_truth: the right answer.
        grader: one of ``GRADERS``.

    Raises:
        ValueError: unknown grader, or a ground truth that the number grader cannot read.
        ModuleNotFoundError: when math-verify is asked for and not installed.
    """
    if grader == "math_verify":
        return _math_verify(solution_str, ground_truth)
    if grader != "number":
        raise ValueError(f"reward_kwargs.grader={grader!r} is unknown; use one of {', '.join(GRADERS)}")
    expected = read_number(ground_truth)
    if expected is None:
        raise ValueError(
            f"ground_truth={ground_truth!r} ({data_source}) is not a number; set "
            "+reward.custom_reward_function.reward_kwargs.grader=math_verify for other answers"
        )
    return float(extract_number(solution_str) == expected)


def extract_number(text: str) -> Fraction | None:
    """The number that the text gives as its answer, or None."""
    boxed = last_boxed(text)
    if boxed is not None:
        return read_number(boxed)
    if _MARKER in text:
        return read_number(text.rsplit(_MARKER, 1)[1])
    found = _NUMBER.findall(text)
    return read_number(found[-1]) if found else None


def read_number(text: str) -> Fraction | None:
    """The first number in the text, exactly; None without one, and for a division by zero."""
    match = _NUMBER.search(text)
    if match is None:
        return None
    numerator, _, denominator = match.group().replace(",", "").replace("\u2212", "-").partition("/")
    if not denominator:
        return Fraction(numerator)
    return Fraction(numerator.strip()) / int(denominator) if int(denominator) else None


def last_boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{...}``, braces matched; None without one or where it is cut off."""
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 0
    for position in range(start + len(_BOX) - 1, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return text[start + len(_BOX) : position]
    return None


def _math_verify(solution: str, ground_truth: str) -> float:
    if importlib.util.find_spec("math_verify") is None:
        raise ModuleNotFoundError(
            "reward_kwargs.grader='math_verify' needs math-verify; run: pip install 'verl-softthink[math]'"
        )
    from verl_softthink.data.math_verify_pool import equal

    return float(equal(solution, ground_truth))
