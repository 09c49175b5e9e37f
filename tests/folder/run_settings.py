"""Settings of a run that nobody computes."""

from typing import Any

from aasp_features.folder.options import RunSettings
from aasp_features.options import EmbedOptions


def run_settings(pooling: str = "mean", **changes: Any) -> RunSettings:
    fixed = {"checkpoint": "none", "checkpoint_sha256": None, "aasp_features": "0", "torch": "0", "width": 3}
    written = {"frames": False, "hop": 0.16, "dtype": "float32", "normalize": False, "max_hours": 100.0}
    computed = {"compiled": False, "device": "cpu", "threads": 1}
    return RunSettings(embed=EmbedOptions(pooling, 1, 8, 64, 8), **{**fixed, **written, **computed, **changes})
