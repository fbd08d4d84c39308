"""Why the service cannot start, in a sentence that says what to do."""


class CannotStart(Exception):
    """The message is for the person at the terminal; no traceback helps them."""
