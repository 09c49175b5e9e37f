"""Runs that the tests of cards share."""

from pathlib import Path

import pytest
from release_helpers import finished_run

MODELS = {
    "aape": {"kernel": "even", "features": "modulus"},
    "conv": {"patch_embed": "conv"},
    "lowpass": {"patch_embed": "lowpass", "lowpass_cutoff": 2.5, "lowpass_taps": 49},
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each patch embedding."""
    folder = tmp_path_factory.mktemp("runs")
    return {kind: finished_run(folder / kind, **changes) for kind, changes in MODELS.items()}
