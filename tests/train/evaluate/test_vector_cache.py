"""Vectors are computed once, go on after an interruption, and follow what they were made of."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aasp_features.train.evaluate import vector_cache
from aasp_features.train.evaluate.methods import Method
from aasp_features.train.evaluate.vector_cache import task_vectors


def hear_nothing(waveforms: Sequence[np.ndarray], rate: int) -> np.ndarray:
    raise AssertionError("files are asked for, not waveforms")


class Counting:
    """A method whose vectors are its files' numbers, and which knows how many it made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, files: Sequence[Path]) -> np.ndarray:
        self.made += len(files)
        return np.array([[float(path.stem), 1.0] for path in files], np.float32)


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


def test_only_what_changed_or_is_damaged_is_made_again(files: list[Path], tmp_path: Path) -> None:
    counting = Counting()
    method, cache = Method("m", "abc", counting, hear_nothing), tmp_path / "cache"
    task_vectors(method, files, cache)
    files[5].write_bytes(b"longer")
    task_vectors(method, files, cache)
    assert counting.made == 14
    for place in cache.iterdir():
        place.write_bytes(place.read_bytes()[:-3])
    assert task_vectors(method, files, cache)[:, 0].tolist() == list(range(10))
    assert counting.made == 24


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
        (lambda part: np.zeros((len(part) + 1, 2)), r"gave an array of shape \(5, 2\) for 4 sounds"),
        (lambda part: np.zeros(len(part)), r"gave an array of shape \(4,\) for 4 sounds"),
        (lambda part: np.full((len(part), 2), np.nan), r"its vector of .*0\.wav is not finite"),
        (lambda part: np.zeros((len(part), len(part))), r"vectors of several lengths, \[2, 4\]"),
        (lambda part: [np.zeros(2), np.zeros(3)], "m: setting an array element"),
    ],
)
def test_what_is_no_vector_is_a_sentence(give: object, sentence: str, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        task_vectors(Method("m", "abc", give, hear_nothing), files, tmp_path / "cache")
