"""A run's weights, or the mean of several runs' and checkpoints', as a checkpoint."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_helpers import start
from train_helpers import model
from typer.testing import CliRunner, Result

from aasp_features import AaSPEncoder
from aasp_features.checkpoint import load_checkpoint
from aasp_features.train.cli import app
from aasp_features.train.release.card import mix_in_words
from aasp_features.train.release.export import export_encoder, mixed, read_shares, stored_as


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


def aasp_train(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of three seeds; the first two as checkpoints."""
    tmp_path = tmp_path_factory.mktemp("three")
    runs = [start(tmp_path / str(seed), run={"seed": seed}) for seed in range(3)]
    assert all(run.run() for run in runs)
    first, second = (exact(run.folder, tmp_path / name) for run, name in zip(runs, ("first", "second"), strict=False))
    return [first, second, runs[2].folder]


def exact(run: Path, out: Path) -> Path:
    """Its checkpoint, in float32."""
    return export_encoder([run], out, name=f"aasp-tiny-{out.name}-1", half=False)


def test_the_weights_lie_between(three: list[Path], tmp_path: Path) -> None:
    first, second, run = three
    mix = ["--mix", f"{first}=0.25", "--mix", f"{second}=0.125"]
    done = aasp_train("export", run, "--out", tmp_path / "mixed", "--name", "aasp-tiny-mixed-1", *mix)
    assert done.exit_code == 0, done.output
    folders = [first, second, exact(run, tmp_path / "alone"), tmp_path / "mixed"]
    one, two, own, found = (AaSPEncoder.from_pretrained(folder).network.state_dict() for folder in folders)
    for key, value in found.items():
        expected = 0.25 * one[key] + 0.125 * two[key] + 0.625 * own[key]
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-4)  # it is stored as float16
    sentence = (
        "The checkpoint's weights are a weighted mean: this run's (62.5 %), `first`'s (25 %), `second`'s (12.5 %)."
    )
    assert sentence in (tmp_path / "mixed" / "README.md").read_text()
    assert aasp_train("card", run, "--checkpoint", tmp_path / "mixed", *mix).exit_code == 0
    assert sentence in (tmp_path / "mixed" / "README.md").read_text()


def test_another_front_end_is_refused(three: list[Path]) -> None:
    first = load_checkpoint(three[0])
    other = first.config.replace(mean=-4.0, pooling="cls", name="aasp-tiny-other-1")
    with pytest.raises(ValueError, match=r"first cannot be mixed in: it has mean -6\.0 where the run has -4\.0\.$"):
        mixed(first.weights, other, {str(three[0]): 0.5})


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["aasp-tiny-pack-1"], "must be CHECKPOINT=SHARE"),
        (["=0.4"], "must be CHECKPOINT=SHARE"),
        (["a=half"], "must be CHECKPOINT=SHARE"),
        (["a=nan"], "must be CHECKPOINT=SHARE"),
        (["a=0"], "got 'a=0'"),
        (["a=0.2", "a=0.3"], "names a twice"),
        (["a=0.5", "b=0.5"], "must sum to less than 1, got 1"),
        (["a=inf"], "must sum to less than 1, got inf"),
    ],
)
def test_shares_that_are_none(pairs: list[str], sentence: str, tmp_path: Path) -> None:
    options = [word for pair in pairs for word in ("--mix", pair)]
    done = aasp_train("export", tmp_path, "--out", tmp_path / "out", "--name", "aasp-tiny-test-1", *options)
    assert (done.exit_code, sentence in " ".join(done.output.split())) == (2, True), done.output
    assert not (tmp_path / "out").exists()


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.floats(0.001, 0.09), max_size=8))
def test_every_name_and_share_comes_back(shares: dict[str, float]) -> None:
    assert read_shares([f"{name}={share!r}" for name, share in shares.items()]) == shares


def test_nothing_mixed_is_not_told() -> None:
    assert mix_in_words({}) == ""
