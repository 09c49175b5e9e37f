"""The checkpoints of the package are complete, and give what they gave when they were released."""

from pathlib import Path

import numpy as np
import pytest

from aasp_features import AaSPEncoder
from aasp_features.checkpoint import BUNDLED, DEFAULT, bundled_folder

ROOT = Path(__file__).resolve().parents[1]


def test_the_bundled_checkpoints_are_complete() -> None:
    folders = [bundled_folder(name) for name in BUNDLED]
    assert {path.name for path in (ROOT / "aasp_features" / "checkpoints").iterdir() if path.is_dir()} == set(BUNDLED)
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) <= 24_000_000
    for folder in folders:
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "license: apache-2.0" in card
        assert "## Limits" in card
        assert "aasp-train linear" in card
        assert "LibriSpeech" in (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
        assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert AaSPEncoder.from_pretrained().config.name == DEFAULT


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_checkpoint_gives_the_vectors_it_was_released_with(sounds: Path, name: str) -> None:
    """Made by ``aasp-embed examples/sounds --model NAME --out tests/golden/NAME.npy`` at its release."""
    golden = np.load(ROOT / "tests" / "golden" / f"{name}.npy")
    paths = (ROOT / "tests" / "golden" / f"{name}.csv").read_text().splitlines()[1:]
    files = [ROOT / row.split(",")[1] for row in paths]
    vectors = AaSPEncoder.from_pretrained(name).embed(files)
    assert (np.abs(vectors - golden) / np.maximum(1, np.abs(golden))).max() < 1e-3


@pytest.mark.data
def test_the_bundled_checkpoint_beats_the_untrained_network(shared_audio: Path) -> None:
    """One task here; the card's table has all."""
    from aasp_features.train.evaluate.logistic import logistic_regression
    from aasp_features.train.evaluate.methods import baseline_methods, encoder_methods
    from aasp_features.train.evaluate.probe import probe
    from aasp_features.train.evaluate.tasks.registry import read_tasks

    (task,) = read_tasks([str(shared_audio / "tasks" / "speaker_id")])
    own = next(encoder_methods([""], [None], [None]))
    untrained = next(baseline_methods([""], [None], [None], untrained=True, log_mel=False))
    values = [probe(method.embed_files(task.files), task, logistic_regression).value for method in (own, untrained)]
    assert values[0] > values[1]
