"""Parts of a split, and batches of its training part."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_helpers import EVERYTHING, examples_of, tiny_encoder, tones

from aasp_features.train.evaluate.finetune.examples import parts_of
from aasp_features.train.evaluate.task import Split


def test_groups_are_held_out_whole(task_folder: Path) -> None:
    task = tones(task_folder)
    split = task.splits()[4]
    train, validation, test = parts_of(task, split, 0.25, seed=3)
    assert sorted([*train, *validation]) == sorted(split.train)
    assert len(validation) == 8  # two of eight groups of four
    assert not set(task.groups[train]) & set(task.groups[validation])
    assert test.tolist() == split.test.tolist()
    assert len(parts_of(task, split, 0.0, 3)[1]) == 0
    given = Split("test", split.train[:10], split.train[10:], split.test)
    assert parts_of(task, given, 0.25, 3)[1].tolist() == split.train[10:].tolist()
    lone = replace(task, groups=np.full(len(task.groups), "one"))
    with pytest.raises(ValueError, match=r"tones, fold 5: its training clips are of a single group.* run.held_out=0"):
        parts_of(lone, split, 0.25, 3)


def test_batches_are_functions_of_the_step(task_folder: Path) -> None:
    task, encoder = tones(task_folder), tiny_encoder()
    first, again = (examples_of(task, encoder, **EVERYTHING) for _ in range(2))
    first.batch(0)
    one, other = first.batch(1), again.batch(1)
    assert torch.equal(one.clips.log_mel, other.clips.log_mel)
    assert torch.equal(one.targets, other.targets)
    assert torch.equal(one.columns, other.columns)
    assert torch.equal(one.paths, other.paths)
    assert not torch.equal(one.clips.log_mel, first.batch(2).clips.log_mel)
    assert one.clips.log_mel.shape == (8, 32, 128)
    assert one.columns.shape == (8, 1)  # of two
    assert one.paths.shape == (2, 2, 8)


def test_labels_go_with_their_clips(task_folder: Path) -> None:
    examples = examples_of(tones(task_folder), tiny_encoder(), clips={"seconds": 1.0})
    batch = examples.batch(0)
    indices = examples._indices(0)
    assert batch.targets.argmax(dim=1).tolist() == examples.task.labels[indices].tolist()
    for row, index in enumerate(indices):
        assert torch.equal(batch.clips.log_mel[row], examples.log_mels.of([index])[0])
    assert set(indices) <= set(examples.train.tolist())


def test_facts_tell_other_labels_apart(task_folder: Path) -> None:
    task, encoder = tones(task_folder), tiny_encoder()
    same, other = examples_of(task, encoder), examples_of(replace(task, labels=1 - task.labels), encoder)
    assert same.facts == examples_of(task, encoder).facts
    assert same.facts["corpus"] != other.facts["corpus"]
    assert same.facts["split"] == "fold 1"


def test_facts_tell_other_sounds_apart_by_what_they_hold(task_folder: Path, tmp_path: Path) -> None:
    """A copy elsewhere is the same; two that were exchanged are others, equal in size as they are."""
    folder = Path(shutil.copytree(task_folder, tmp_path / "copy", copy_function=shutil.copy))
    encoder, task = tiny_encoder(), tones(folder)
    before = examples_of(task, encoder).facts["corpus"]
    assert before == examples_of(tones(task_folder), encoder).facts["corpus"]
    first, second = task.files[0], task.files[-1]
    assert first.stat().st_size == second.stat().st_size
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert examples_of(task, encoder).facts["corpus"] != before


def test_what_does_not_go_together(task_folder: Path) -> None:
    task, encoder = tones(task_folder), tiny_encoder()
    multi_label = replace(task, labels=np.eye(2, dtype=bool)[task.labels])
    assert examples_of(multi_label, encoder).kind == "binary"
    with pytest.raises(ValueError, match=r"several labels; give loss.kind=binary"):
        examples_of(multi_label, encoder, loss={"kind": "cross_entropy"})
    with pytest.raises(ValueError, match=r"clips.seconds must be at most 1.28, the encoder's window, got 2"):
        examples_of(task, encoder, clips={"seconds": 2.0})
    with pytest.raises(ValueError, match=r"clips.epoch is 99"):
        examples_of(task, encoder, clips={"seconds": 0.32, "epoch": 99})
