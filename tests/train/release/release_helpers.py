"""Real runs of a few steps on noise, and their checkpoints."""

from pathlib import Path

from loop_helpers import start
from train_helpers import model

from aasp_features.train.release.export import export_encoder


def finished_run(folder: Path, **changes: object) -> Path:
    """A run of six steps, crops of 0.64 and 1.28 s; ``changes`` to the network's config."""
    assert start(folder, model=model(**changes)).run()
    return folder


def exported(run: Path, name: str = "aasp-tiny-test-1") -> Path:
    """The checkpoint of a run, beside it."""
    return export_encoder([run], run.with_name(f"{run.name}-checkpoint"), name=name)
