"""Types of options, shared by the command lines; nothing heavy is imported here."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number, `least` (0 or more) or above; anything else is wrong usage."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"{text!r} is not a whole number, {least} or more")
        return int(text)

    return read
