"""Vectors of every method."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from teacher_helpers import teacher, write_callable, write_graph

from aasp_features import AaSPEncoder, load_audio
from aasp_features.train.evaluate.methods import (
    baseline_methods,
    check_beside,
    encoder_method,
    encoder_methods,
    peer_method,
    teacher_method,
)
from aasp_features.train.evaluate.tasks.reading import read_tasks

PEER = """
class Lengths:
    sample_rate = 8000

    def __call__(self, waveform, rate):
        return [rate, len(waveform)]


load = Lengths
"""


@pytest.fixture
def files(task_folder: Path) -> list[Path]:
    return read_tasks([str(task_folder)])[0].files[:3]


def test_teachers_vectors_are_what_they_say_of_whole_clips(files: list[Path], tmp_path: Path) -> None:
    both = [teacher(write_callable(tmp_path / "t")), teacher(write_graph(tmp_path / "t"))]
    for row, path in zip(teacher_method("both", both).embed_files(files), files, strict=True):
        sound = load_audio(path)[None]
        np.testing.assert_allclose(row, np.concatenate([one.forward(sound)[0] for one in both]))


def test_an_encoders_vectors_are_embeds(files: list[Path], small_encoder: AaSPEncoder) -> None:
    vectors = encoder_method(small_encoder, "small", "mean", 2).embed_files(files)
    assert np.array_equal(vectors, small_encoder.embed(files, pooling="mean", last_layers=2))


def test_methods_are_named(checkpoint: Path) -> None:
    found = [method.name for method in encoder_methods([str(checkpoint)], ["mean", "cls"], [1])]
    assert found == ["aasp-test-random-1, `mean`", "aasp-test-random-1, `cls`"]
    beside = [
        method.name for method in baseline_methods([str(checkpoint)], ["mean"], [2], untrained=True, log_mel=True)
    ]
    assert beside[0] == "log-mel mean and std (1024 points)"
    assert beside[1:] == [f"untrained, seed {n}, `mean`, last 2 blocks" for n in range(3)]


def test_checkpoints_of_one_name_are_told_apart(checkpoint: Path, tmp_path: Path) -> None:
    other = str(shutil.copytree(checkpoint, tmp_path / "other"))
    first, second = [method.name for method in encoder_methods([str(checkpoint), other], [None], [None])]
    assert first != second
    assert other in second


def test_each_untrained_network_once_and_by_its_own_name(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    same = AaSPEncoder(small_encoder.config.replace(name="aasp-test-same-1", mean=-5.0)).save_pretrained(
        tmp_path / "same"
    )
    other = AaSPEncoder(small_encoder.config.replace(name="aasp-test-other-1", depth=1)).save_pretrained(
        tmp_path / "other"
    )
    first = small_encoder.save_pretrained(tmp_path / "first")

    def names(*checkpoints: Path) -> list[str]:
        found = baseline_methods(list(map(str, checkpoints)), [None], [1], untrained=True, log_mel=False)
        return [method.name.partition("`")[0] for method in found]

    assert names(first, same) == [f"untrained, seed {n}, " for n in range(3)]
    assert names(first, same, other) == [
        f"{name} untrained, seed {n}, " for name in ("aasp-test-same-1", "aasp-test-other-1") for n in range(3)
    ]


def test_identities_tell_methods_apart(checkpoint: Path) -> None:
    methods = [*encoder_methods([str(checkpoint)], ["mean", "cls"], [1, 2])]
    methods += baseline_methods([str(checkpoint)], ["mean"], [1], untrained=True, log_mel=True)
    assert len({method.identity for method in methods}) == len(methods) - 1
    first = next(method for method in methods if method.name.startswith("untrained, seed 0"))
    assert first.identity == methods[0].identity  # these are the checkpoint's very weights, by whatever name
    again = next(encoder_methods([str(checkpoint)], ["mean"], [1]))
    assert again.identity == methods[0].identity


def test_an_encoder_is_known_by_its_values(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    """Whatever file they are in, and whatever it is called; but a window that reads otherwise is another method."""
    half = AaSPEncoder.from_pretrained(small_encoder.save_pretrained(tmp_path / "half", half=True))
    copy = AaSPEncoder.from_pretrained(half.save_pretrained(tmp_path / "copy"))
    copy.config = copy.config.replace(name="another")
    same, other = (encoder_method(encoder, "m", "mean", 1).identity for encoder in (half, small_encoder))
    assert encoder_method(copy, "m", "mean", 1).identity == same != other
    copy.config = copy.config.replace(window=32)
    assert encoder_method(copy, "m", "mean", 1).identity != same


def test_a_peer_is_ten_lines(files: list[Path], tmp_path: Path) -> None:
    script = tmp_path / "peak.py"
    script.write_text("def load():\n    return lambda waveform, rate: [abs(waveform).max(), rate]\n")
    method = peer_method(script)
    assert method.name == "peak"
    expected = [[np.abs(load_audio(path)).max(), 16000] for path in files]
    np.testing.assert_allclose(method.embed_files(files), np.array(expected, np.float32))
    script.write_text(PEER)
    assert peer_method(script).embed_files(files).tolist() == [[8000, 3000]] * 3
    assert peer_method(script).identity != method.identity
    script.write_text("def load():\n    raise OSError('no weights here')\n")
    with pytest.raises(ValueError, match=r"peak.py: load\(\) failed \(OSError: no weights here\)"):
        peer_method(script)


@pytest.mark.parametrize("wanted", ["mfcc", "gone.py", "gone.yaml"])
def test_what_cannot_be_measured_beside(wanted: str) -> None:
    with pytest.raises(ValueError, match=f"--beside.*{wanted}"):
        check_beside(["untrained", "log-mel", wanted])
