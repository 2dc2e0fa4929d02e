r"""Responses and truths with the score that a careful marker gives: the table that both graders are held to.

A group says why, names truth and graders, and lists responses that are right and wrong; ``PAIRS`` is the flat table.
"""

from typing import NamedTuple

NUMBER, MATH = ("number",), ("math_verify",)
BOTH = (*NUMBER, *MATH)


class Pair(NamedTuple):
    """One graded response."""

    response: str
    truth: str
    grader: str
    score: float
    why: str


class Group(NamedTuple):
    """Responses to one truth, for one reason."""

    why: str
    graders: tuple[str, ...]
    truth: str
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def box(*contents: str) -> tuple[str, ...]:
    """Each content as the boxed end of a response."""
    return tuple(f"Adding up, I get $\\boxed{{{content}}}$." for content in contents)


# Where the answer is looked for.
PLACES = (
    Group(
        "a complete box comes before every other place",
        BOTH,
        "12",
        (r"\boxed{12}", "#### 5\n\\boxed{12}", r"\boxed{12} #### 5", r"The answer is 5. Or \boxed{12}, not 13."),
        (r"\boxed{13} #### 12", r"The answer is 12, so \boxed{13}", r"12 \boxed{} 12"),
    ),
    Group(
        "of several boxes the last",
        BOTH,
        "8",
        (r"\boxed{3} at first, but then \boxed{8}", r"\boxed{\boxed{8}}", r"\boxed{x} \boxed{y} \boxed{8}"),
        (r"\boxed{8} and then \boxed{3}", r"\boxed{8}\boxed{}"),
    ),
    Group(
        "a cut-off box does not count",
        BOTH,
        "40",
        (r"\boxed{40} again: \boxed{4", "#### 40\nthat is \\boxed{", r"The answer is 40, that is \boxed{\frac{80}{2}"),
        (r"\boxed{40", r"so it is \boxed{40 and more words", r"#### 4 \boxed{40", r"\boxed{\frac{80}{2}"),
    ),
    Group(
        "braces inside a box are matched",
        BOTH,
        "1/2",
        (r"\boxed{\frac{1}{2}} then", r"\boxed{{\frac{{1}}{2}}}", r"\boxed {\frac{1}{2}}", r"\fbox{\frac{1}{2}}"),
        (r"\boxed{\frac{1}{2}", r"\boxed{\frac{1}{3}}", r"\frac{1}{2} \boxed{2}"),
    ),
    Group(
        "after the last ####, up to the first word or the end of the line",
        BOTH,
        "7",
        (
            "3 + 4 = 7\n#### 7",
            "#### 7 apples of the 12",
            "#### 5\n#### 7",
            "####7",
            "####\n7",
            "#### 7\n12 were there before.",
            "#### $7$",
            "#### **7**",
            "#### 7.",
            "#### 3 + 4 = 7",
            "#### 7 (that is 3 and 4)",
        ),
        (
            "#### 12 apples, of which 7 are green",
            "#### 7\n#### 5",
            "#### 7, 8",
            "#### 7 or 8",
            "it is 7\n####",
            "#### 70",
            "#### seven",
            "#### -7",
        ),
    ),
    Group(
        '#### comes before "answer is"',
        BOTH,
        "30",
        ("The answer is 4.\n#### 30", "#### 30\nThe answer is 4."),
        ("The answer is 30.\n#### 4", "#### 4\nThe answer is 30."),
    ),
    Group(
        'after the last "answer is" or "answer:"',
        BOTH,
        "15",
        (
            "The answer is 15.",
            "the ANSWER IS: 15",
            "Answer: 15",
            "The answer is 3. Wait, the answer is 15.",
            "So the final answer is $15$, as 3 times 5 shows.",
            "The answer is **15**",
            r"The answer is \(15\).",
            "The answer is 15 metres, 2 more than before.",
            "The answer is:\n15",
            "The answer is about 15.",
            "The answer is x = 15.",
        ),
        (
            "The answer is 3.",
            "The answer is 15. No, the answer is 3.",
            "The answer is 15 or 3.",
            "The answer is not 15",
            "The answer is 15, 16.",
            "The answer is",
            "15. The answer is",
        ),
    ),
    Group(
        "without any of these the last number of the text",
        BOTH,
        "9",
        ("4 + 5 = 9", "We find 9 birds.", "5 first, then 9", "It costs $9."),
        ("9 and then 4", "x9", "nothing", "", "   \n", "2^9", r"\frac{1}{9}", "9/0"),
    ),
)

# How the content of a place is read, by both graders alike.
ANSWERS = (
    Group(
        "a fraction is its value, not its numerator",
        BOTH,
        "1/2",
        box(r"\frac{1}{2}", r"\dfrac{1}{2}", r"\tfrac{2}{4}", r"\frac12", r"\frac1{2}", "1/2", "0.5", ".5", "0.50"),
        box(r"\frac{1}{3}", r"\frac{2}{1}", "1", "2", r"-\frac{1}{2}", "0.05"),
    ),
    Group(
        "a numerator is no answer",
        BOTH,
        "25",
        box("25", "25.0", r"\frac{50}{2}", r"\frac{25}{1}", "50/2"),
        box(r"\frac{25}{2}", "25/2", r"\frac{2}{25}", r"25\frac{1}{2}", "25.5"),
    ),
    Group(
        "a list is not its first or last member",
        BOTH,
        "25",
        (),
        box("25, 26, 27", "24, 25", "25, 25, 26", r"25 \text{ and } 26", r"25\text{ or }26", "(25, 26)", "25; 26"),
    ),
    Group("a power is not its base", BOTH, "2", box("2"), box("2^{10}", "2^3", r"\sqrt{2}", "2^{-1}", "10^{2}")),
    Group(
        "a product, a sum or a root is not its first number",
        NUMBER,
        "3",
        box("3"),
        box(r"3\sqrt{2}", r"3 \times 4", "3 + 4", r"3\pi", "3x", "3xy", "3!", "3i", r"\sqrt{3}", "3^2"),
    ),
    Group(
        "separators of thousands",
        BOTH,
        "1234",
        box("1,234", "1{,}234", r"1\,234", r"1,\!234", "1234", "1234.0", r"1\;234", "01,234"),
        box("1,235", "1", "234", "1, 234", "12,34"),
    ),
    Group(
        "separators of millions, of both the truth and the answer",
        BOTH,
        "1,250,000",
        box("1250000", "1,250,000", "1{,}250{,}000", r"1\,250\,000"),
        box("1,250", "1250", "125,000,0", "1,250,001"),
    ),
    Group(
        "separators with a decimal part", BOTH, "4520.75", box("4,520.75", "4{,}520.75", r"4\,520.750"), box("4,520")
    ),
    Group(
        "signs, the typographical minus and an en dash",
        NUMBER,
        "-6",
        box("-6", "\u22126", "- 6", "\u20136", "-6.0", "-12/2", r"-\frac{12}{2}", r"\frac{-12}{2}", r"\frac{12}{-2}"),
        box("6", "+6", "--6", "10-6", "x-6", r"\pm 6"),
    ),
    Group("a plus sign is no part of the value", BOTH, "6", box("+6", "+ 6", "6"), box("-6", r"\pm 6")),
    Group(
        "an equation gives its right side",
        BOTH,
        "5",
        box("x = 5", "x=5", r"x = \frac{10}{2}", r"n = 5\text{ cm}", "2 + 3 = 5"),
        box("x = 6", "5 = x + 1", "y = -5"),
    ),
    Group("several equations are several answers", NUMBER, "5", (), box("x = 5, y = 7", "y = 7, x = 5", "x < 5")),
    Group(
        "units",
        BOTH,
        "60",
        box("60 km", r"60\text{ cm}", r"60\ \mathrm{km}", r"60^\circ", r"60^{\circ}", "60 dollars", r"60\text{ km/h}"),
        box("6 km", r"70^\circ", "60.5 km"),
    ),
    Group(
        "money",
        BOTH,
        "18",
        box(r"\$18", "$18$", r"\$18.00", r"18\text{ dollars}", "18 USD", r"\text{\$}18"),
        box(r"\$1", r"\$18.50", r"\$180"),
    ),
    Group("the percent sign is a unit", NUMBER, "45", box("45%", r"45\%", "45 %", r"45 \%", "45 percent"), box("4.5%")),
    Group("words that multiply are no units", NUMBER, "3", (), box("3 thousand", "3 million", "3 dozen", "3 hundred")),
    Group(
        "words in front", NUMBER, "11", box(r"\text{about } 11", r"\text{11}", r"\approx 11"), box("minus 11", "not 11")
    ),
    Group(
        "dots, quotes, dollars and emphasis around the answer",
        BOTH,
        "14",
        box("14.", "$14$", r"\textbf{14}", r"\text{14}", r"\mathbf{14}", r"\(14\)", " 14 ", "14\n", "{14}"),
        box("14.5.", "1.4", "$4$"),
    ),
    Group(
        "mixed numbers",
        BOTH,
        "7/2",
        box(r"3\frac{1}{2}", r"3\frac12", r"3 \frac{1}{2}", "3.5", "7/2"),
        box(r"3\frac{1}{3}", r"-3\frac{1}{2}", r"\frac{1}{2}", "3"),
    ),
    Group(
        "scientific notation",
        BOTH,
        "1500",
        box(r"1.5 \times 10^3", r"1.5\times 10^{3}", r"1.5 \cdot 10^{3}", r"15 \cdot 10^2"),
        box(r"1.5 \times 10^2", r"1.5 \times 10^{-3}", "1.5", r"15 \times 100^2"),
    ),
    Group(
        "scientific notation of programs", NUMBER, "1500", box("1.5e3", "1.5E3", "1.5e+3"), box("1.5e2", "1.5e", "e3")
    ),
    Group(
        "small numbers", BOTH, "0.002", box(r"2 \times 10^{-3}", "0.002", ".002", r"\frac{1}{500}"), box("0.02", "2")
    ),
    Group("a power of ten", BOTH, "1000000", box("10^6", "10^{6}", "1,000,000"), box("10^5", "106", "10", "6")),
    Group(
        "what cannot be read is wrong",
        NUMBER,
        "0",
        box("0", "-0", "0.0"),
        box("", "O", "zero", "5/0", "0/0", "1e-99999"),
    ),
    Group("numbers too long to be an answer", BOTH, "9", (), box("9" * 5_000, "9." + "0" * 5_000 + "1", "9e999999999")),
)

# What math-verify knows beyond values.
EXPRESSIONS = (
    Group("equal expressions", MATH, r"\frac12", box(r"\frac{2}{4}", r"\frac{\sqrt{4}}{4}", "0.5"), box(r"\frac34")),
    Group(
        "roots", MATH, r"2\sqrt{3}", box(r"\sqrt{12}", r"2\sqrt3", r"\sqrt{4}\sqrt{3}"), box(r"\sqrt{6}", r"2\sqrt{2}")
    ),
    Group("polynomials", MATH, "x^2+2x+1", box("(x+1)^2", "1+2x+x^2", "x^2+x+x+1"), box("(x-1)^2", "x^2+1")),
    Group("constants", MATH, r"4\pi", box(r"4\pi", r"\pi \cdot 4", r"\frac{8\pi}{2}"), box(r"\pi", "4", r"4\pi^2")),
    Group("sets", MATH, r"\{1,2,3\}", box(r"\{3,2,1\}", r"\{1,2,3\}"), box(r"\{1,2\}", r"\{1,2,4\}")),
    Group("intervals", MATH, "[0,1)", box("[0,1)", r"\left[0,1\right)"), box("[0,1]", "(0,1)", "[0,2)")),
    Group("points keep their order", MATH, "(2,3)", box("(2,3)", r"\left(2, 3\right)"), box("(3,2)", "(2,4)", "2")),
    Group("arithmetic is worked out", MATH, "1024", box("2^{10}", r"4 \cdot 256", "1000 + 24"), box("2^{9}", "2^{11}")),
    Group(
        "prose gives expressions too",
        MATH,
        r"\frac{3}{4}",
        (r"The answer is $\frac{3}{4}$.", r"#### \frac{3}{4}", r"The answer is \(\frac{6}{8}\), reduced."),
        (r"The answer is $\frac{4}{3}$.", r"#### \frac{3}{5}"),
    ),
)

PAIRS = tuple(
    Pair(response, group.truth, grader, score, group.why)
    for group in (*PLACES, *ANSWERS, *EXPRESSIONS)
    for grader in group.graders
    for score, responses in ((1.0, group.right), (0.0, group.wrong))
    for response in responses
)
