"""The one exception type for input that cannot be used."""


class InputError(ValueError):
    """Input that violates a stated relation.

    The message is one sentence with the offending values and the mend; command-line tools print it
    as it is and exit with code 2.
    """


class MissingToolError(RuntimeError):
    """Something outside Python that the request needs is absent; the message says how to get it."""
