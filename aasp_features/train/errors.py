"""What training and evaluation cannot go on with."""

from __future__ import annotations

from aasp_features.errors import AaSPError


class TrainError(AaSPError, ValueError):
    """A corpus, a run, a task or a file that cannot be used; the sentence says which, and what to do."""
