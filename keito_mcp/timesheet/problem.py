"""What an agent is told when its call didn't do what it asked."""


class Problem(Exception):
    """A failure in three sentences: what happened, what is certain now, and what to do next."""

    def __init__(self, happened: str, certain: str, next_step: str) -> None:
        super().__init__(f"{happened} {certain} {next_step}")


NOTHING_SENT = "Nothing was sent to Keito."
NOTHING_CHANGED = "Nothing was changed in Keito."
