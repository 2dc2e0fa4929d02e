r"""One number, as responses and data sets write it: plain, in LaTeX or in prose.

The text must be one number as a whole; ``25, 26``, ``3x``, ``3 \times 4`` and ``2^{10}`` are none, for nothing is
worked out. What may stand around it does not count:

| written | read |
|---|---|
| ``1,234``  ``1{,}234``  ``1\,234``  ``1,\!234`` | 1234 |
| ``\frac{1}{2}``  ``\frac12``  ``1/2``  ``.5`` | 1/2 |
| ``3\frac{1}{2}``  ``3 1/2`` | 7/2 |
| ``1.5 \times 10^{3}``  ``1.5e3``; ``10^6`` | 1500; 1000000 |
| ``+6``; ``-6`` with a hyphen, a typographical minus or an en dash | 6; -6 |
| ``x = 5``  ``2 + 3 = 5``  ``\approx 5``: the last side | 5 |
| ``60\text{ cm}``  ``60 km/h``  ``60^\circ``  ``\$60``: units, apart from the number or of a short list | 60 |
| ``45\%``  ``45 percent``: the sign is a unit, so it does not divide by 100 | 45 |
| ``about 11``  ``\textbf{11}``  ``$11$``  ``11.`` | 11 |

A space between digits separates two numbers, a comma separates thousands alone: ``1 234``, ``1,23`` are none.
"""

import re
from fractions import Fraction

#: Characters of the longest text that is read; the longest answer of MATH-500 has 159.
LONGEST = 1_000
#: Largest power of ten, by absolute value: a longer number is no answer, and takes memory to write out.
LARGEST_EXPONENT = 300

_MINUS = re.compile("[\u2212\u2013\ufe63\uff0d]")
_THIN_SPACE = re.compile("[\u2009\u202f\u00a0]")
_INVISIBLE = re.compile(
    r"\\(?:left|right|displaystyle|!|\(|\)|\[|\]|\$)|[$*`\"']|\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree|\u00b0"
)
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:\{,\}|,|\\[,; ]|~)\d{3})+(?![\d,])", re.ASCII)
_NO_DIGIT = re.compile(r"\D+", re.ASCII)
_SPACE = re.compile(r"\\[,;: ]|\\quad|~|\s+")
_DOUBLE_BRACES = re.compile(r"\{\s*\{([^{}]*)\}\s*\}")
_BRACES = re.compile(r"\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[cdt]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))", re.ASCII)
_EXPONENT = re.compile(r"\^\s*\{\s*([-+]?\d+)\s*\}", re.ASCII)
_TIMES = re.compile(r"(?<=\d)\s*(?:\\times|\\cdot|\u00d7|\*)\s*(?=10\^)", re.ASCII)
_EQUALS = re.compile(r"=|\\approx|\\equiv|\u2248")
_SEVERAL = re.compile(r"[,;]|\b(?:and|or)\b")
_LEAD = re.compile(r"(?:(?:about|approximately|around|exactly|roughly)\s+)?", re.IGNORECASE)

_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?:(?P<whole>\d+)\s+(?P<part>\d+)\s*/\s*(?P<of>\d+)"
    rf"|(?P<numerator>[-+]?{_DECIMAL})\s*/\s*(?P<denominator>[-+]?{_DECIMAL})"
    rf"|(?:(?P<factor>{_DECIMAL})@)?10\^(?P<power>[-+]?\d+)"
    rf"|(?P<decimal>{_DECIMAL})(?:[eE](?P<exponent>[-+]?\d+))?)",
    re.ASCII,
)
# A letter right after a digit is a variable, unless it begins one of these.
_ATTACHED = r"(?:[ckm]m|[km]g|m[lL]|kph|mph|lbs?|oz|ft|hrs?|mins?|secs?|[ap]m|USD|EUR)"
_WORD = r"(?:[^\W\d_]{2,}|[mgshlL])(?![^\W_])(?:\^[23])?"
_UNITS = re.compile(rf"\s*\\?%?(?:{_ATTACHED}\b|(?=\s|$))(?:[\s/.()]+{_WORD})*[\s.,;:?)]*")
_NO_UNITS = re.compile(
    r"\b(?:and|or|to|plus|minus|times|over|more|less|half|hundred|thousand|million|billion|trillion|dozen|squared|cubed"
    r"|factorial|pi|sqrt)\b",
    re.IGNORECASE,
)


def read_number(text: str) -> Fraction | None:
    """The number that the text is, exactly; None where it is not one number, is too long, or divides by zero."""
    if len(text) > LONGEST:
        return None
    sides = _EQUALS.split(_plain(text))
    if len(sides) > 1 and any(_SEVERAL.search(side) for side in sides):
        return None
    side = sides[-1].strip()
    number = _NUMBER.match(side, _LEAD.match(side).end())
    if number is None:
        return None
    after = side[number.end() :]
    if not _UNITS.fullmatch(after) or _NO_UNITS.search(after):
        return None
    value = _value(number)
    return -value if value is not None and number["sign"] == "-" else value


def _plain(text: str) -> str:
    """The text without LaTeX: ``\\frac{1}{2}`` becomes ``1/2``, and ``2 \\times 10^{3}`` becomes ``2@10^3``."""
    text = _THIN_SPACE.sub("~", _MINUS.sub("-", text))
    text = _TIMES.sub("@", _EXPONENT.sub(r"^\1", text))
    text = _repeat(_TEXT, r" \1 ", _INVISIBLE.sub("", text))
    text = _THOUSANDS.sub(lambda number: _NO_DIGIT.sub("", number[0]), text)
    text = _repeat(_DOUBLE_BRACES, r"{\1}", _SPACE.sub(" ", text)).strip()
    text = _FRACTION.sub(r" \1\2/\3\4 ", text).strip()
    braced = _BRACES.fullmatch(text)
    return braced[1] if braced else text


def _repeat(pattern: re.Pattern, replacement: str, text: str) -> str:
    """Replace from the inside outwards."""
    count = 1
    while count:
        text, count = pattern.subn(replacement, text)
    return text


def _value(number: re.Match) -> Fraction | None:
    if number["of"]:
        part, of = int(number["part"]), int(number["of"])
        return int(number["whole"]) + Fraction(part, of) if 0 < part < of else None
    if number["denominator"]:
        denominator = Fraction(number["denominator"])
        return Fraction(number["numerator"]) / denominator if denominator else None
    exponent = int(number["power"] or number["exponent"] or 0)
    if abs(exponent) > LARGEST_EXPONENT:
        return None
    return Fraction(number["factor"] or number["decimal"] or 1) * Fraction(10) ** exponent
