"""The one exception for bad input: one clear sentence, exit code 2."""


class InputError(Exception):
    """What is wrong, where, and what to do, in one sentence written for the person who typed it."""
