"""The root of every error that this package raises on purpose."""

from __future__ import annotations


class AaSPError(Exception):
    """Something that the caller can mend; the message is one sentence that says what and how.

    Attributes:
        exit_code: what the commands end with: 2 where nothing was done, 1 where something was.
    """

    exit_code = 2


class OptionError(AaSPError, ValueError):
    """An option or a setting that is not accepted, whatever the sounds are."""


class CheckpointError(AaSPError, RuntimeError):
    """A checkpoint that cannot be found, read, written or trusted; the sentence says what to do."""
