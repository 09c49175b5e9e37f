"""The error of training and evaluation."""

from __future__ import annotations

from aasp_features.errors import AaSPError


class TrainError(AaSPError, ValueError):
    """A corpus, run, task or file that cannot be used."""
