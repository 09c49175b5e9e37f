"""Features on disk: what the teacher says of each crop, whoever made them and however often that was cut off."""

import resource
from pathlib import Path

import numpy as np
import psutil
import pytest
from teacher_helpers import CODE, open_features, teacher, write_callable
from warm_process import run_python

from aasp_features.train.data.waveform_crops import PIECE
from aasp_features.train.pretrain.feature_makers import Makers

pytest.importorskip("onnxruntime")

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
from aasp_features.train.pretrain import teacher_features as t
from teacher_helpers import open_features
from aasp_features.train.pretrain.external_teachers import ExternalTeacher
features = open_features(Path({data!r}), Path({folder!r}), Path({teachers!r}))
left, save = int(sys.argv[1]), t.np.save
def save_and_die(file, array):
    global left
    left -= 1
    if left == 0:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(file, array)
t.np.save = save_and_die
makers = [ExternalTeacher(one) for one in features.teachers]
for piece in range(4):
    features.make(piece, makers)
"""


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.npy"))}


def test_features_are_what_the_teacher_says_of_each_crop_alone(
    sound_folder: Path, teachers: Path, tmp_path: Path
) -> None:
    features = open_features(sound_folder, tmp_path, teachers)
    heard = [teacher(path) for path in sorted(teachers.glob("*.yaml"))]
    for piece in range(2):
        features.make(piece, heard)
    assert features.complete() == 2
    numbers = np.array([0, 5, 255, 256, 300, 511])
    for one in heard:
        kept = features.read(one.description.name, numbers)
        for number, row in zip(numbers, kept, strict=True):
            alone = one.forward(features.cropper.crop(int(number)).waveform[None])[0]
            np.testing.assert_allclose(row, alone, rtol=1e-3, atol=1e-3)
    every = np.arange(2 * PIECE)
    files_open = psutil.Process().num_fds()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_open + 64, hard))  # fewer than there are crops
    try:
        assert np.array_equal(features.read("levels", every)[numbers], features.read("levels", numbers))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert features.path("levels", 0).stat().st_size == 128 + 2 * 8 * PIECE + 32  # two bytes a number, and sha256


def test_killed_five_times_equals_uninterrupted(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    whole = open_features(sound_folder, tmp_path / "whole", teachers)
    heard = [teacher(path) for path in sorted(teachers.glob("*.yaml"))]
    for piece in range(4):
        whole.make(piece, heard)
    settings = {"helpers": str(Path(__file__).parent), "data": str(sound_folder), "folder": str(tmp_path / "cut")}
    code = KILLED.format(**settings, teachers=str(teachers)).replace(
        "sys.path.insert", f"sys.path.insert(0, {str(Path(__file__).parents[1])!r}); sys.path.insert"
    )
    for writes in (1, 2, 2, 1, 3):
        done = run_python(code, writes)
        assert done.returncode == -9, done.stderr
    makers = Makers(open_features(sound_folder, tmp_path / "cut", teachers), 4, workers=2)
    try:
        assert makers.wait() == 4
    finally:
        makers.stop()
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert not list((tmp_path / "cut").rglob(".*.npy.*"))


def test_a_later_teacher_is_added(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    write_callable(tmp_path / "one")
    first = open_features(sound_folder, tmp_path / "f", tmp_path / "one")
    first.make(0, [teacher(tmp_path / "one" / "levels.yaml")])
    made = first.path("levels", 0).stat().st_mtime_ns
    both = open_features(sound_folder, tmp_path / "f", teachers)
    assert not both.has(0)
    both.make(0, [teacher(path) for path in sorted(teachers.glob("*.yaml"))])
    assert both.has(0)
    assert first.path("levels", 0).stat().st_mtime_ns == made


def test_other_crops_and_other_teachers_are_refused(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    open_features(sound_folder, tmp_path / "f", teachers)
    with pytest.raises(ValueError, match=r"features of other crops \(seed differ\)"):
        open_features(sound_folder, tmp_path / "f", teachers, seed=4)
    (tmp_path / "changed").mkdir()
    write_callable(tmp_path / "changed", code=CODE + "# another version\n")
    with pytest.raises(ValueError, match="another teacher named 'levels'"):
        open_features(sound_folder, tmp_path / "f", tmp_path / "changed")


def test_damage_is_named(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    features = open_features(sound_folder, tmp_path, teachers)
    features.make(0, [teacher(path) for path in sorted(teachers.glob("*.yaml"))])
    path = features.path("peaks", 0)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"000000.npy is damaged or missing; delete it"):
        features.read("peaks", np.array([1]))


def test_no_file_is_kept_open(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    features = open_features(sound_folder, tmp_path, teachers)
    heard = [teacher(path) for path in sorted(teachers.glob("*.yaml"))]
    for piece in range(3):
        features.make(piece, heard)
    before = psutil.Process().num_fds()
    features.read("levels", np.arange(3 * PIECE))
    assert psutil.Process().num_fds() == before


def test_damaged_pieces_are_found_and_made_again(sound_folder: Path, teachers: Path, tmp_path: Path) -> None:
    """Bits flipped anywhere, cuts, lengthening, NaN; with a checksum, and in what was made before there were any."""
    features, rng = open_features(sound_folder, tmp_path, teachers), np.random.default_rng(0)
    features.make(0, [teacher(path) for path in sorted(teachers.glob("*.yaml"))])
    before, path = content(tmp_path), features.path("levels", 0)
    whole = path.read_bytes()
    assert features.damaged(9) == []
    for place in [*range(0, 128, 3), *rng.integers(128, len(whole), 40)]:
        flipped = bytearray(whole)
        flipped[int(place)] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        assert features.damaged(1) == [path], place
    for size in (0, 60, 128, 1000, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert features.damaged(1) == [path], size
    path.write_bytes(whole + b"\0")
    assert features.damaged(1) == [path]
    old = bytearray(whole[:-32])  # by a version without checksums
    path.write_bytes(old)
    assert features.damaged(1) == []
    old[130:132] = np.float16(np.nan).tobytes()
    path.write_bytes(old)
    assert features.damaged(1) == [path]
    with pytest.raises(
        ValueError, match=r"000000.npy is damaged, 1 pieces in all; distillation.workers=1 recomputes them"
    ):
        Makers(features, 1, workers=0)
    makers = Makers(features, 1, workers=1)
    try:
        assert makers.wait() == 1
    finally:
        makers.stop()
    assert content(tmp_path) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"crops": 1, "teachers": {}}', "\0"])
def test_a_damaged_plan_is_named(sound_folder: Path, teachers: Path, tmp_path: Path, text: str) -> None:
    open_features(sound_folder, tmp_path, teachers)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ValueError, match=r"plan.json is damaged; restore it, or give another folder"):
        open_features(sound_folder, tmp_path, teachers)
