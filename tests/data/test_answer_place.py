"""Where the answer of a response stands, and how one number is read."""

from fractions import Fraction

import pytest

from verl_softthink.data.answer_place import find_answer, last_boxed
from verl_softthink.data.read_number import LARGEST_EXPONENT, LONGEST, read_number


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{ 4 } #### 5", "4"),
        (r"#### 5 \boxed{4", "5"),
        ("#### 7 apples of the 12", "7"),
        ("#### **$\\frac{1}{2}$**", r"\frac{1}{2}"),
        ("the answer is $x$, $y$", "$x$, $y$"),
        ("the answer is blue. It has 3 parts.", "blue"),
        ("it is 7\n####", ""),
        ("Answer:\n\n 12 km, as said", "12"),
        ("3 + 4 = 7, so (7).", "7"),
        ("nothing here", None),
        ("", None),
    ],
)
def test_the_four_places(text, answer):
    assert find_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{\frac{1}{2}} then", r"\frac{1}{2}"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{1} and \boxed{", "1"),
        (r"\\boxed{1}", "1"),
        (r"} \boxed{1}", "1"),
        ("none", None),
        (r"\boxed{{1}", None),
    ],
)
def test_boxes_are_matched_by_their_braces(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize("piece", ["\\boxed{", "\\", "{", "}", "#", "answer is ", "$", "1 ", "=", "\\text{", "a "])
def test_a_long_text_is_read_in_no_time(piece):
    """Quadratic time would be minutes here; the suite's time limit of a test is the bound."""
    text = piece * (400_000 // len(piece))
    find_answer(text)
    read_number(text[:LONGEST])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("$1,234.50", Fraction("1234.5")),
        ("1\u202f234", 1234),
        ("-1 / 2", Fraction(-1, 2)),
        ("2 3/4", Fraction(11, 4)),
        ("-3.5 \\times 10^{-2}", Fraction(-35, 1000)),
        ("60 m^2", 60),
        ("5pm", 5),
        ("5 x", None),
        ("2 5/4", None),
        ("1 234", None),
        ("1,2", None),
        ("10-3", None),
        ("5/0", None),
        ("3 and a half", None),
        ("\u0663", None),
        ("", None),
        (f"1e{LARGEST_EXPONENT}", 10**LARGEST_EXPONENT),
        (f"1e{LARGEST_EXPONENT + 1}", None),
        ("1" * LONGEST, int("1" * LONGEST)),
        ("1" * (LONGEST + 1), None),
    ],
)
def test_one_number(text, number):
    assert read_number(text) == number
