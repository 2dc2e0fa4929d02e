"""How a message shows a value that somebody else chose: short, printable, and in bounded time."""

import reprlib

#: Entries of a list or a dictionary, characters of a text, digits of a number, levels of nesting.
ENTRIES, CHARACTERS, DIGITS, LEVELS = 12, 200, 40, 4


class _Short(reprlib.Repr):
    """``reprlib``, which looks at the beginning of lists and texts only, for whole numbers and bytes as well."""

    def __init__(self):
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = ENTRIES
        self.maxstring = self.maxother = CHARACTERS
        self.maxlevel = LEVELS

    def repr_int(self, value: int, level: int) -> str:
        # Python refuses to write out numbers of more than 4,300 digits.
        return repr(value) if value.bit_length() <= 3 * DIGITS else f"a whole number of {value.bit_length()} bits"

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value) if len(value) <= DIGITS else f"{value[:DIGITS]!r}... ({len(value)} bytes)"

    def repr_list(self, value: list, level: int) -> str:
        return super().repr_list(value, level) + ("" if len(value) <= ENTRIES else f" ({len(value)} entries)")


shown = _Short().repr
