"""Vectors are computed once, go on after an interruption, and follow what they were made of."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate import vector_cache
from aasp_features.train.evaluate.methods import Method
from aasp_features.train.evaluate.vector_cache import task_vectors


def hear_nothing(waveforms: Sequence[np.ndarray], rate: int) -> np.ndarray:
    raise AssertionError("files are asked for, not waveforms")


class Counting:
    """A method whose vectors are the numbers in its files, and which knows how many it made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, files: Sequence[Path]) -> np.ndarray:
        self.made += len(files)
        return np.array([[float(path.read_text()), 1.0] for path in files], np.float32)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(vector_cache, "BLOCK", 4)
    found = [tmp_path / f"{index}.wav" for index in range(10)]
    for path in found:
        path.write_bytes(path.stem.encode())
    return found


def test_computed_once(files: list[Path], tmp_path: Path) -> None:
    counting, seen = Counting(), []
    method = Method("m", "abc", counting, hear_nothing)
    first = task_vectors(method, files, tmp_path / "cache", seen.append)
    assert first[:, 0].tolist() == list(range(10))
    assert (seen, counting.made) == ([4, 4, 2], 10)
    again = task_vectors(replace(method, name="renamed"), files, tmp_path / "cache")
    assert np.array_equal(first, again)
    assert counting.made == 10
    task_vectors(method, files, None)
    assert counting.made == 20
    task_vectors(replace(method, identity="other"), files, tmp_path / "cache")
    assert counting.made == 30


def test_vectors_of_a_file_that_changes_meanwhile_are_not_kept(files: list[Path], tmp_path: Path) -> None:
    counting, before = Counting(), files[0].read_bytes()

    def embed_files(paths: Sequence[Path]) -> np.ndarray:
        files[0].write_text("77")
        return counting(paths)

    method = Method("m", "abc", embed_files, hear_nothing)
    assert task_vectors(method, files, tmp_path / "cache")[0, 0] == 77
    files[0].write_bytes(before)
    assert task_vectors(replace(method, embed_files=counting), files, tmp_path / "cache")[0, 0] == float(before)


def test_only_what_changed_or_is_damaged_is_made_again(files: list[Path], tmp_path: Path) -> None:
    counting = Counting()
    method, cache = Method("m", "abc", counting, hear_nothing), tmp_path / "cache"
    task_vectors(method, files, cache)
    files[5].write_text("55")
    expected = [*range(5), 55, *range(6, 10)]
    assert task_vectors(method, files, cache)[:, 0].tolist() == expected
    assert counting.made == 14
    for place in cache.iterdir():
        place.write_bytes(place.read_bytes()[:-3])
    assert task_vectors(method, files, cache)[:, 0].tolist() == expected
    assert counting.made == 24


def test_files_are_known_by_what_they_hold(files: list[Path], tmp_path: Path) -> None:
    """Two that were exchanged, equal in size and time; and copies at other places and times."""
    counting, cache = Counting(), tmp_path / "cache"
    method = Method("m", "abc", counting, hear_nothing)
    for path in files:
        os.utime(path, ns=(1, 1))
    task_vectors(method, files, cache)
    files[3].rename(tmp_path / "x")
    files[7].rename(files[3])
    (tmp_path / "x").rename(files[7])
    assert task_vectors(method, files, cache)[:, 0].tolist() == [0, 1, 2, 7, 4, 5, 6, 3, 8, 9]
    assert counting.made == 18
    copies = [Path(shutil.copy(path, tmp_path / f"copy of {path.name}")) for path in files]
    task_vectors(method, copies, cache)
    assert counting.made == 18


@pytest.mark.parametrize("damage", ["flip", "exchange"])
def test_blocks_are_known_by_their_checksum_and_key(files: list[Path], tmp_path: Path, damage: str) -> None:
    counting, cache = Counting(), tmp_path / "cache"
    method = Method("m", "abc", counting, hear_nothing)
    expected = task_vectors(method, files[:8], cache)
    first, second = cache.iterdir()
    if damage == "exchange":
        first.rename(cache / "x")
        second.rename(first)
        (cache / "x").rename(second)
    else:
        for place in (first, second):
            content = bytearray(place.read_bytes())
            content[130] ^= 1  # a number, which stays finite
            place.write_bytes(content)
    np.testing.assert_array_equal(task_vectors(method, files[:8], cache), expected)
    assert counting.made == 16


def test_a_cache_that_cannot_be_written_is_a_sentence(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(TrainError, match=r"cannot be written .*free some space"):
        task_vectors(Method("m", "abc", Counting(), hear_nothing), files, tmp_path / "cache")


def test_an_interrupted_computation_goes_on(files: list[Path], tmp_path: Path) -> None:
    counting = Counting()

    def killed(part: Sequence[Path]) -> np.ndarray:
        if files[4] in part:
            raise KeyboardInterrupt
        return counting(part)

    with pytest.raises(KeyboardInterrupt):
        task_vectors(Method("m", "abc", killed, hear_nothing), files, tmp_path / "cache")
    task_vectors(Method("m", "abc", counting, hear_nothing), files, tmp_path / "cache")
    assert counting.made == 10


@pytest.mark.parametrize(
    ("give", "sentence"),
    [
        (lambda part: np.zeros((len(part) + 1, 2)), r"returned an array of shape \(5, 2\) for 4 sounds"),
        (lambda part: np.zeros(len(part)), r"returned an array of shape \(4,\) for 4 sounds"),
        (lambda part: np.full((len(part), 2), np.nan), r"its vector of .*0\.wav is not finite"),
        (lambda part: np.zeros((len(part), len(part))), r"vectors of several lengths, \[2, 4\]"),
        (lambda part: [np.zeros(2), np.zeros(3)], "m: setting an array element"),
    ],
)
def test_what_is_no_vector_is_a_sentence(give: object, sentence: str, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        task_vectors(Method("m", "abc", give, hear_nothing), files, tmp_path / "cache")
