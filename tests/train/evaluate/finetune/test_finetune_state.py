"""A run's state: damage and strangers are sentences."""

from pathlib import Path

import pytest
import torch
from finetune_helpers import start, tones

from aasp_features.train.run.state import flat_state, read_record, restore, under


def test_there_and_back(task_folder: Path, tmp_path: Path) -> None:
    run = start(tmp_path, tones(task_folder))
    run.step()
    run.save()
    progress, record = read_record(tmp_path)
    assert (progress.step, progress.crops, record["judged"]) == (1, 8, None)
    other = start(tmp_path / "other", tones(task_folder))
    tensors = restore(tmp_path, {"model": other.model, "average": other.average}, {"optimizer": other.optimizer})
    modules = {"model": run.model, "average": run.average}
    for name, value in flat_state(modules, {"optimizer": run.optimizer}).items():
        assert torch.equal(tensors[name], value), name
    assert under("model.", tensors).keys() == run.model.state_dict().keys()


def test_damage_and_other_networks(task_folder: Path, tmp_path: Path) -> None:
    run = start(tmp_path, tones(task_folder))
    run.save()
    modules = {"model": run.model, "stranger": run.average}
    with pytest.raises(ValueError, match="belongs to another network"):
        restore(tmp_path, modules, {"optimizer": run.optimizer})
    state = tmp_path / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[-100] ^= 1
    state.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="is damaged"):
        start(tmp_path, tones(task_folder))
