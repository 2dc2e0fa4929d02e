r"""Where a response gives its answer: the one order of places that every grader of this package looks in.

1. The last complete box, ``\boxed{...}`` or ``\fbox{...}``, with all of its content. A box that is cut off counts
   nowhere, and of several complete ones the last does.
2. What follows the last ``####``.
3. What follows the last "answer is" or "answer:".
4. The last number that stands by itself, as in ``3 + 4 = 7`` or "8 birds are left."

Places 2 to 4 are looked for before the box that is cut off, if there is one. In places 2 and 3 the answer is the
formula between dollars or ``\( \)`` where one begins there, else the first line up to the end of its first sentence
or the first word after a digit: ``#### 7 apples of the 12`` is 7.
"""

import re

BOX, MARKER = "\\boxed{}", "####"
# A backslash before any other character is looked at to step over it: \{ and \} are no braces.
_BRACES = re.compile(r"(?P<box>\\{1,2}(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_ANSWER_IS = re.compile(r"\banswer(?:\s+is\b\s*:?|\s*:)", re.IGNORECASE)
_EMPHASIS = " \t*_`\"'"
_FORMULA = re.compile(r"\$+([^$]+)\$+|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_ANOTHER = re.compile(r"\s*(?:[,;]|,?\s*\b(?:and|or)\b)\s*(?:[-$\d]|\\[(\[])")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_WORD = re.compile(r"\s\(?(?!(?:and|or)\b)[^\W\d_]{2,}")
_DIGIT = re.compile(r"[0-9]")
_NUMBER = re.compile(r"[-+\u2212]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:(?<=[0-9])|\.[0-9]+)(?:/[0-9]+)?")
_PUNCTUATION = ".,;:!?%$*_`\"'()[]"


def find_answer(text: str) -> str | None:
    """The answer in the first of the four places that the text has, as it is written there.

    Returns:
        None where the text has none of the places; an empty text where nothing stands in it.
    """
    boxed, cut = _boxes(text)
    if boxed is not None:
        return boxed.strip()
    text = text[:cut]
    if MARKER in text:
        return _of_prose(text.rsplit(MARKER, 1)[1])
    said = list(_ANSWER_IS.finditer(text))
    return _of_prose(text[said[-1].end() :]) if said else _last_number(text)


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete ``\boxed{...}`` or ``\fbox{...}``, braces matched; None without one."""
    return _boxes(text)[0]


def _boxes(text: str) -> tuple[str | None, int]:
    """Content of the complete box that begins last, and where the first box begins that is cut off."""
    open_braces: list[re.Match] = []
    last, content = -1, None
    for found in _BRACES.finditer(text):
        if found["box"] or found["open"]:
            open_braces.append(found)
        elif found["close"] and open_braces:
            opened = open_braces.pop()
            if opened["box"] and opened.start() > last:
                last, content = opened.start(), text[opened.end() : found.start()]
    return content, next((opened.start() for opened in open_braces if opened["box"]), len(text))


def _of_prose(text: str) -> str:
    line = text.strip().partition("\n")[0].strip(_EMPHASIS)
    formula = _FORMULA.match(line)
    if formula is not None and not _ANOTHER.match(line, formula.end()):
        return next(part for part in formula.groups() if part is not None).strip()
    sentence = _SENTENCE_END.split(line, maxsplit=1)[0]
    digit = _DIGIT.search(sentence)
    word = _WORD.search(sentence, digit.end()) if digit else None
    return sentence[: word.start() if word else None].strip(_EMPHASIS + ".,;:!?")


def _last_number(text: str) -> str | None:
    for token in reversed(re.split(r"[\s=]+", text)):
        number = token.strip(_PUNCTUATION)
        if number and _NUMBER.fullmatch(number):
            return number
    return None
