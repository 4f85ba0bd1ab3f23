"""How a command ends that cannot go on."""


class Stop(Exception):
    """The command cannot be done; its text is the line that is printed."""

    def __init__(self, text: str, code: int = 2) -> None:
        """Say why.

        Args:
            text: The line.
            code: The exit code: 2 for what was typed in wrong or could not be reached, 1 for what was found.
        """
        super().__init__(" ".join(text.split()))
        self.code = code
