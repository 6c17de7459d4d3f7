"""The one error that a user can mend."""


class InputError(ValueError):
    """An input is at fault, not the program: one line that says what (a file, an option), the fault and the remedy.

    The command line prints it without a traceback and exits 1; every other exception is a bug and shows its traceback.
    """
