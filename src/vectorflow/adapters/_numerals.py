"""Numbers as lists write them."""

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"),
    (50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_LONGEST = 4000
"""Roman numbers end before it, and letters would fill lines."""


def numeral(number: int, form: str) -> str:
    """Write a number, in digits where it cannot be written in that form.

    Args:
        number: Of an item.
        form: `lowerLetter`, `upperRoman`, ... as Word calls them.
    """
    if form == "decimalZero":
        return f"{number:02}"
    if not 0 < number < _LONGEST or not form.endswith(("Letter", "Roman")):
        return str(number)
    written = _letters(number) if form.endswith("Letter") else _roman(number)
    return written.upper() if form.startswith("upper") else written


def _letters(number: int) -> str:
    """Write as Word does: after z come aa, bb, cc."""
    times, letter = divmod(number - 1, 26)
    return chr(ord("a") + letter) * (times + 1)


def _roman(number: int) -> str:
    written = ""
    for worth, sign in _ROMAN:
        times, number = divmod(number, worth)
        written += sign * times
    return written
