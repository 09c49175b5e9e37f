"""The checkpoints of the package are complete, and give what they gave when they were released."""

from pathlib import Path

import numpy as np
import pytest

from aasp_features import AaSPEncoder
from aasp_features.hub import BUNDLED, DEFAULT, bundled_folder

ROOT = Path(__file__).resolve().parents[1]


def test_the_bundled_checkpoints_are_complete() -> None:
    folders = [bundled_folder(name) for name in BUNDLED]
    assert {path.name for path in (ROOT / "aasp_features" / "checkpoints").iterdir() if path.is_dir()} == set(BUNDLED)
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) <= 24_000_000
    for folder in folders:
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "license: apache-2.0" in card
        assert "## Limits" in card
        assert "aasp-train probe" in card
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
    from aasp_features.train.evaluate.features import encoder_vectors, untrained_encoder

    from aasp_features.train.evaluate.linear import linear_classifier
    from aasp_features.train.evaluate.probe import probe
    from aasp_features.train.evaluate.tasks import read_task

    task, encoder = read_task(shared_audio / "tasks" / "speaker_id"), AaSPEncoder.from_pretrained()
    scores = [
        probe(encoder_vectors(one, None, None)(task.files), task, linear_classifier).score
        for one in (encoder, untrained_encoder(encoder.config, 0))
    ]
    assert scores[0] > scores[1]
