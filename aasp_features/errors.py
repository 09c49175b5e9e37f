"""The errors that this package raises on purpose."""

from __future__ import annotations


class AaSPError(Exception):
    """Something that the caller can fix; the message is one sentence that says what and how.

    Attributes:
        exit_code: code that the commands exit with: 2 if nothing was done, 1 if something was.
    """

    exit_code = 2


class OptionError(AaSPError, ValueError):
    """An option or setting that is not accepted.

    Args:
        message: the sentence, which continues the option's name: "must be at least 1, got 0."
        option: name of the option in Python, such as ``last_layers``; None if the sentence is complete.
    """

    def __init__(self, message: str, *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option

    def __str__(self) -> str:
        return self.named(self.option)

    @property
    def flagged(self) -> str:
        """The sentence for the command line, with ``--last-layers`` for ``last_layers``."""
        return self.named(self.option and f"--{self.option.replace('_', '-')}")

    def named(self, option: str | None) -> str:
        """Return the sentence with another spelling of the option."""
        return f"{option} {self.args[0]}" if option else str(self.args[0])


class CheckpointError(AaSPError, RuntimeError):
    """A checkpoint that cannot be found, read, written or trusted; the message says what to do."""
