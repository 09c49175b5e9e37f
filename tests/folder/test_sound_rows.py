"""A row for a sound, or one for each of its frames."""

from pathlib import Path

import numpy as np
import soundfile
from helpers import read_csv, relative_difference

from aasp_features import AaSPEncoder
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import Discovery, find_sounds


def test_frames_equal_embed_frames(small_encoder: AaSPEncoder, mixed: Discovery, tmp_path: Path) -> None:
    for hop, pooling in ((0.16, "frequency"), (0.04, "mean")):  # the long file's rows spill to disk in the first
        out = tmp_path / f"frames{hop}.npy"
        embed_sounds(small_encoder, mixed, out, RunOptions(frames=True, hop=hop, pooling=pooling))
        vectors, rows = np.load(out), read_csv(out.with_suffix(".csv"))
        names = list(dict.fromkeys(row["path"] for row in rows))
        assert len(names) == 13
        for name in names:
            own = [int(row["row"]) for row in rows if row["path"] == name]
            alone = small_encoder.embed_frames(name, hop=hop, pooling=pooling)
            assert relative_difference(alone.embeddings, vectors[own]) <= 1e-5
            np.testing.assert_allclose([float(rows[row]["time"]) for row in own], alone.times, atol=1e-6)


def test_frames_of_sounds_too_short_for_every_offset(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    for samples in (1, 800, 3000):
        soundfile.write(tmp_path / f"{samples:04}.wav", np.random.default_rng(0).normal(size=samples) * 0.1, 16000)
    out = tmp_path / "frames.npy"
    embed_sounds(small_encoder, find_sounds([tmp_path]), out, RunOptions(frames=True, hop=0.04))
    alone = [small_encoder.embed_frames(path, hop=0.04).embeddings for path in sorted(tmp_path.glob("*.wav"))]
    assert [len(vectors) for vectors in alone] == [1, 1, 5]
    assert relative_difference(np.concatenate(alone), np.load(out)) <= 1e-5
