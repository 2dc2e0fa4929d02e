"""Does a trace quote its hint instead of deriving it? Two plain measures; compare them with the model's own traces.

A right derivation overlaps with the solution by itself, so neither number means anything alone: the difference between
traces of the posterior and of the model on the same questions does.
"""

import re

#: Words in a row that count as a quotation: longer than stock phrases, shorter than a sentence.
QUOTATION_WORDS = 8
_WORDS = re.compile(r"\w+|[^\w\s]")


def copied_fraction(trace: str, hint: str) -> float:
    """Part of the hint's runs of ``QUOTATION_WORDS`` words (all of it, if shorter) that the trace contains, in [0, 1].

    A word is a run of letters and digits, or one other character; spaces do not count.
    """
    words, said = _WORDS.findall(hint), _WORDS.findall(trace)
    size = min(QUOTATION_WORDS, len(words))
    if not size:
        return 0.0
    runs = {tuple(said[start : start + size]) for start in range(len(said) - size + 1)}
    quoted = [tuple(words[start : start + size]) in runs for start in range(len(words) - size + 1)]
    return sum(quoted) / len(quoted)


def answer_position(trace: str, answer: str) -> float:
    """Where the answer stands in the trace for the first time as whole words: 0 at its start, 1 at its end or nowhere.

    A trace that states the answer before it has derived it has a small number.
    """
    words, said = _WORDS.findall(answer), _WORDS.findall(trace)
    if not words:
        return 1.0
    for start in range(len(said) - len(words) + 1):
        if said[start : start + len(words)] == words:
            return start / len(said)
    return 1.0
