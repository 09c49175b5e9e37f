"""Settings of a run that nobody computes."""

from typing import Any

from aasp_features.folder.options import RunSettings
from aasp_features.options import EmbedOptions


def run_settings(pooling: str = "mean", **changes: Any) -> RunSettings:
    fixed = {"checkpoint": "none", "checkpoint_sha256": None, "config_sha256": "c", "weights_sha256": "w", "width": 3}
    fixed |= {"aasp_features": "0", "torch": "0"}
    written = {"frames": False, "hop": 0.16, "dtype": "float32", "normalize": False, "max_hours": 100.0}
    computed = {"compiled": False, "device": "cpu", "part_seconds": 580.0, "threads": 1}
    return RunSettings(embed=EmbedOptions(pooling, 1, 8, 64, 8), **{**fixed, **written, **computed, **changes})
