"""Vectors of every method."""

from pathlib import Path

import numpy as np
from teacher_helpers import teacher, write_callable, write_graph

from aasp_features import AaSPEncoder, load_audio
from aasp_features.train.evaluate.features import encoder_methods, encoder_vectors, teacher_vectors
from aasp_features.train.evaluate.tasks import read_tasks


def test_teachers_vectors_are_what_they_say_of_whole_clips(task_folder: Path, tmp_path: Path) -> None:
    both = [teacher(write_callable(tmp_path / "t")), teacher(write_graph(tmp_path / "t"))]
    files = read_tasks(task_folder)[0].files[:3]
    vectors = teacher_vectors(both)(files)
    for row, path in zip(vectors, files, strict=True):
        sound = load_audio(path)[None]
        np.testing.assert_allclose(row, np.concatenate([one.hear(sound)[0] for one in both]))


def test_an_encoders_vectors_are_embeds(task_folder: Path, small_encoder: AaSPEncoder) -> None:
    files = read_tasks(task_folder)[0].files[:3]
    vectors = encoder_vectors(small_encoder, "mean", 2)(files)
    assert np.array_equal(vectors, small_encoder.embed(files, pooling="mean", last_layers=2))


def test_methods_are_named(checkpoint: Path) -> None:
    found = [name for name, _ in encoder_methods([str(checkpoint)], ["mean", "cls"], [1], untrained=True, log_mel=True)]
    assert found[0] == "log-mel mean and std (1024 points)"
    assert found[1:5] == [*(f"untrained, seed {n}, `mean`" for n in range(3)), "aasp-test-random-1, `mean`"]
    assert found[-1] == "aasp-test-random-1, `cls`"
