"""The one exception that users are meant to read."""


class Sim4SegError(Exception):
    """Something the user can put right: one sentence on what was wrong and what to do.

    The command line prints it as a single line and exits with code 2; anything else that
    escapes is a defect.
    """
