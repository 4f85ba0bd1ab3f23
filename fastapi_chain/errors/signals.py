"""What a task raises to steer its chain: no errors, so not part of the tree."""

from fastapi_chain._text import seconds as in_seconds


class Skip(Exception):
    """Raise it in a task that has nothing to do.

    The task, and every task that needs its output, ends `skipped` with that reason; the run does not fail.

    Example:
        >>> raise Skip("no rows today")
        Traceback (most recent call last):
        fastapi_chain.errors.Skip: no rows today
    """

    def __init__(self, reason: str = "") -> None:
        """Give the *reason*, which the run shows."""
        super().__init__(reason)
        self.reason = reason


class RetryAfter(Exception):
    """Raise it in a task that should be tried again later; the attempt counts as a failed one.

    Example:
        >>> raise RetryAfter(30)
        Traceback (most recent call last):
        fastapi_chain.errors.RetryAfter: try again in 30 s
    """

    def __init__(self, seconds: float) -> None:
        """Say after how many *seconds* the next attempt begins, in place of the task's backoff."""
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"try again in {in_seconds(self.seconds)}"
