"""A run's weights, or the mean of several runs', as a checkpoint."""

from pathlib import Path

import pytest
import torch
from loop_helpers import start
from train_helpers import model

from aasp_features import AaSPEncoder
from aasp_features.train.release.export import export_encoder, stored_as


def test_the_mean_of_runs_is_exported(tmp_path: Path) -> None:
    runs = [start(tmp_path / name, run={"seed": seed}) for name, seed in (("one", 0), ("two", 1))]
    for run in runs:
        run.run()
    folder = export_encoder([run.folder for run in runs], tmp_path / "mean", name="aasp-tiny-test-1", half=False)
    assert "The weights are the mean of 2 such runs" in (folder / "README.md").read_text()
    mean = AaSPEncoder.from_pretrained(folder).network.state_dict()
    for key, value in mean.items():
        one, two = (run.objective.ema_teacher.network.state_dict()[key] for run in runs)
        torch.testing.assert_close(value, (one + two) / 2)
    wider = start(tmp_path / "wider", model=model(dim=64))
    wider.save()
    with pytest.raises(ValueError, match="weights of another shape"):
        export_encoder([runs[0].folder, wider.folder], tmp_path / "mixed", name="aasp-tiny-test-1")


@pytest.mark.parametrize(("half", "stored", "size"), [(True, "float16", 2), (False, "float32", 4)])
def test_how_weights_are_stored(runs: dict[str, Path], tmp_path: Path, half: bool, stored: str, size: int) -> None:
    folder = export_encoder([runs["conv"]], tmp_path / "ck", name="aasp-tiny-test-1", half=half)
    assert stored_as(folder) == stored
    assert f"stored as {stored}," in (folder / "README.md").read_text()
    numbers = sum(value.numel() for value in AaSPEncoder.from_pretrained(folder).network.state_dict().values())
    assert (folder / "model.safetensors").stat().st_size == pytest.approx(size * numbers, abs=8192)  # and a header


def test_a_card_of_ones_own(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = export_encoder([runs["conv"]], tmp_path / "ck", name="aasp-tiny-test-1", card="# Mine\n")
    assert (folder / "README.md").read_text() == "# Mine\n"


def test_a_damaged_state_is_not_exported(runs: dict[str, Path], tmp_path: Path) -> None:
    state = bytearray((runs["conv"] / "state.safetensors").read_bytes())
    state[len(state) // 2] ^= 4
    (tmp_path / "state.safetensors").write_bytes(state)
    with pytest.raises(ValueError, match="is not what was saved"):
        export_encoder([tmp_path], tmp_path / "ck", name="aasp-tiny-test-1")
    assert not (tmp_path / "ck").exists()
