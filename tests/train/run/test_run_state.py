"""A run's state: whole or the old one, and a sentence for what is damaged, foreign or not finite."""

import errno
import json
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from loop_helpers import start
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from train_helpers import moments

from aasp_features.errors import AaSPError
from aasp_features.train.run.folder import STATE_FILE
from aasp_features.train.run.state import CHECKSUMS, checksums, read_record


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state of a run of two steps."""
    folder = tmp_path_factory.mktemp("saved")
    run = start(folder)
    run.step()
    run.step()
    run.save()
    return (folder / STATE_FILE).read_bytes()


def changed(path: Path, tensors: dict[str, Tensor | None], stamped: bool = True) -> None:
    """Other tensors (None: none) in a state, with checksums of them, or with the old ones."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        found = {name: file.get_tensor(name) for name in file.keys()} | tensors  # noqa: SIM118 (not a dict)
    kept = {name: value for name, value in found.items() if value is not None}
    if stamped:
        texts = {name: metadata[name] for name in ("progress", "record")}
        metadata[CHECKSUMS] = json.dumps(checksums(kept, texts))
    save_file(kept, path, metadata=metadata)


def test_a_failed_save_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path)
    run.step()
    run.save()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run.step()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match=r"cannot be written \(No space left on device\); the earlier state is kept"):
        run.save()
    monkeypatch.undo()
    assert start(tmp_path).progress.step == 1
    assert not list(tmp_path.glob(f".{STATE_FILE}*"))


def test_the_record_is_read_without_the_tensors(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.step()
    run.save()
    progress, record = read_record(tmp_path)
    assert progress == run.progress
    assert record["recipe"] == json.loads(json.dumps(run.recipe.to_dict()))
    assert record["sounds"] == len(run.crops.corpus.frame_lengths)
    with pytest.raises(ValueError, match="holds no run"):
        read_record(tmp_path / "gone")


def test_another_version_s_state_is_refused(tmp_path: Path) -> None:
    save_file({"objective.student.cls": torch.zeros(2)}, tmp_path / STATE_FILE, metadata={"progress": "{}"})
    for read in (start, read_record):
        with pytest.raises(ValueError, match=r"has no checksums.* start a new run"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("tensors", "stamped", "sentence"),
    [
        ({"objective.student.cls": torch.full((1, 1, 32), math.nan)}, True, "objective.student.cls holds NaN"),
        (
            {"adam.exp_avg_sq.student.cls": torch.full((1, 1, 32), math.inf)},
            True,
            "adam.exp_avg_sq.student.cls holds NaN",
        ),
        ({"adam.exp_avg.student.cls": None}, True, "moments of student.cls are missing"),
        ({"adam.exp_avg.student.cls": None}, False, "it lacks adam.exp_avg.student.cls"),
        ({"objective.student.cls": torch.zeros(1, 1, 32)}, False, "objective.student.cls is not what was saved"),
        ({"adam.exp_avg.student.cls": torch.zeros(1, 1, 32)}, False, "adam.exp_avg.student.cls is not what was saved"),
        ({"health.cls.0": torch.zeros(8, 32)}, False, "health.cls.0 is not what was saved"),
        ({"objective.student.cls": None}, True, "belongs to another network"),
    ],
)
def test_what_the_state_must_hold(
    saved: bytes, tmp_path: Path, tensors: dict[str, Tensor | None], stamped: bool, sentence: str
) -> None:
    (tmp_path / STATE_FILE).write_bytes(saved)
    changed(tmp_path / STATE_FILE, tensors, stamped)
    with pytest.raises(ValueError, match=sentence):
        start(tmp_path)


def test_no_flipped_bit_and_no_cut_goes_unseen(saved: bytes, tmp_path: Path) -> None:
    """Bits of the header, which is JSON, and of the tensors; a resumed run is the saved one, or a sentence."""
    rng, header = np.random.default_rng(0), int.from_bytes(saved[:8], "little")
    places = [*range(8), *rng.integers(8, header, 60), *rng.integers(header, len(saved), 30)]
    whole = start_of(saved, tmp_path)
    for index in map(int, places):
        flipped = bytearray(saved)
        flipped[index] ^= 1 << int(rng.integers(8))
        with suppress(AaSPError):
            assert start_of(bytes(flipped), tmp_path) == whole, index
    for size in (0, 5, 100, header, len(saved) // 2, len(saved) - 1):
        with pytest.raises(ValueError, match="is damaged"):
            start_of(saved[:size], tmp_path)


def start_of(state: bytes, folder: Path) -> list[bytes]:
    """What a run has after it took up a state, as bytes."""
    (folder / STATE_FILE).write_bytes(state)
    run = start(folder)
    kept = [value for parameter in run.parameters for _, value in sorted(moments(run)[parameter].items())]
    tensors = [*run.objective.state_dict().values(), *kept, *run.health.state().values()]
    return [*(value.numpy().tobytes() for value in tensors), repr((run.progress, run.record())).encode()]
