"""The one kind of error that is the user's to mend."""


class UserError(ValueError):
    """Bad input: a file, folder or setting that the user can put right.

    The message says what was found and where, what was expected, and what to do. Commands print it without a traceback
    and end with status 2.
    """


class CommonError(UserError):
    """A mistake that every process of a job knows of: the first one tells it, the others end without a word."""
