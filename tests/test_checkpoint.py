"""Checkpoints by name and in folders, and everything that can be wrong with one; the Hub has a file of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from aasp_features import AaSPEncoder, CheckpointError, checkpoints, list_checkpoints
from aasp_features.checkpoint import load_checkpoint, read_card, read_shapes, read_weights, save_checkpoint
from aasp_features.checkpoints import BUNDLED, DEFAULT, bundled_folder

ROOT = Path(__file__).resolve().parents[1]
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(5).half(), "c": torch.zeros(1, 2, 3).bfloat16()}


def copy_of(checkpoint: Path, folder: Path) -> Path:
    return Path(shutil.copytree(checkpoint, folder, dirs_exist_ok=True))


def test_the_bundled_checkpoints_are_complete() -> None:
    folders = [bundled_folder(name) for name in BUNDLED]
    assert {path.parent.name for path in (ROOT / "aasp_features" / "checkpoints").glob("*/config.json")} == set(BUNDLED)
    assert list_checkpoints() == [DEFAULT, *(name for name in BUNDLED if name != DEFAULT)]
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) <= 24_000_000
    for folder in folders:
        for words in ("license: apache-2.0", "## Limits", "aasp-train linear"):
            assert words in (folder / "README.md").read_text(encoding="utf-8")
        assert "LibriSpeech" in (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
        assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_checkpoint_gives_the_vectors_it_was_released_with(sounds: Path, name: str) -> None:
    """Made by ``aasp-embed examples/sounds --model NAME --out tests/golden/NAME.npy`` at its release."""
    golden = np.load(ROOT / "tests" / "golden" / f"{name}.npy")
    paths = (ROOT / "tests" / "golden" / f"{name}.csv").read_text().splitlines()[1:]
    files = [ROOT / row.split(",")[1] for row in paths]
    vectors = AaSPEncoder.from_pretrained(name).embed(files)
    assert (np.abs(vectors - golden) / np.maximum(1, np.abs(golden))).max() < 1e-3


@pytest.mark.data
def test_the_bundled_checkpoint_beats_the_untrained_network(shared_audio: Path) -> None:
    """A third of one task's clips here; the card's table has all tasks."""
    from aasp_features.train.evaluate.classifier import logistic_regression
    from aasp_features.train.evaluate.methods import baseline_methods, encoder_methods
    from aasp_features.train.evaluate.probe import probe
    from aasp_features.train.evaluate.tasks.reading import read_tasks

    (task,) = read_tasks([str(shared_audio / "tasks" / "speaker_id")])
    third = {name: getattr(task, name)[::3] for name in ("files", "labels", "groups", "parts")}
    task = replace(task, **third)
    own = next(encoder_methods([""], [None], [None]))
    untrained = next(baseline_methods([""], [None], [None], untrained=True, log_mel=False))
    values = [probe(method.embed_files(task.files), task, logistic_regression).value for method in (own, untrained)]
    assert values[0] > values[1]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_bundled_checkpoint_that_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """In a copy of the package: one character of the config or one byte of the weights."""
    copy = copy_of(Path(checkpoints.__file__).parent, tmp_path / "checkpoints")
    monkeypatch.setattr(checkpoints, "__file__", str(copy / "__init__.py"))
    load_checkpoint()
    data = bytearray((copy / DEFAULT / file).read_bytes())
    place = data.index(b"-") if file == "config.json" else len(data) // 2
    data[place] ^= 1
    (copy / DEFAULT / file).write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{file} of the bundled checkpoint {DEFAULT} was changed; install"):
        load_checkpoint()
    (copy / DEFAULT / file).unlink()
    with pytest.raises(CheckpointError, match=rf"{file} of the bundled checkpoint {DEFAULT} is missing; install"):
        load_checkpoint()


@pytest.mark.parametrize("name", ["tiny", "a b/c", "a/b/c", "", "org/tiny@", "a" * 5000, "a\0b"])
def test_names_that_name_nothing(name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"is no folder and no checkpoint's name; give '{next(iter(BUNDLED))}'"):
        load_checkpoint(name)


@pytest.mark.parametrize("name", ["aasp-tiny-open3", "aasp_tiny_open_3", "AaSP-tiny-open-3", "tiny-open-3"])
def test_a_name_is_guessed(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"give 'aasp-tiny-open-3' \(bundled\), a folder, or org/name"):
        load_checkpoint(name)


def test_a_folder_wins_over_a_hub_name(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    os.symlink(checkpoint, tmp_path / "org" / "tiny")
    assert AaSPEncoder.from_pretrained("org/tiny").config.name == "aasp-test-random-1"


def test_folders_and_the_bundled_checkpoint_need_no_network(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    sound = np.zeros(1600, np.float32)
    for name in (checkpoint, None, *BUNDLED):
        assert np.isfinite(AaSPEncoder.from_pretrained(name).embed(sound)).all()
    for name in BUNDLED:
        assert AaSPEncoder.from_pretrained(name).config.name == name
    assert AaSPEncoder.from_pretrained().config.name == DEFAULT


def test_weights_that_do_not_fit_their_config(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    weights = small_encoder.network.state_dict()
    without = {key: value for key, value in weights.items() if key != "cls"}
    other = {**weights, "cls": torch.zeros(7)}
    more = {**weights, "head.weight": torch.zeros(2)}
    for wrong, sentence in ((more, r"unknown head\.weight"), (without, "missing cls"), (other, r"cls is \(7,\), not")):
        save_checkpoint(tmp_path, small_encoder.config, wrong, card="")
        with pytest.raises(CheckpointError, match=sentence):
            AaSPEncoder.from_pretrained(tmp_path)


def test_folders_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json; a checkpoint has"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not an AaSP config"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(AaSPEncoder.from_pretrained().config.to_json())
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin would have to be unpickled"):
        load_checkpoint(tmp_path)


def test_a_save_that_fails_leaves_the_old_checkpoint(
    small_encoder: AaSPEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_encoder.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match=r"could not be written .*No space left"):
        small_encoder.save_pretrained(tmp_path, half=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("config", "sentence"),
    [(b"{" * 60000, "not valid JSON"), (b"\xff\xfe", "not UTF-8"), (b" " * 100_000_000, "longer than the 65536 bytes")],
)
def test_configs_that_are_not_json(checkpoint: Path, tmp_path: Path, config: bytes, sentence: str) -> None:
    folder = copy_of(checkpoint, tmp_path)
    (folder / "config.json").write_bytes(config)
    with pytest.raises(CheckpointError, match=sentence) as raised:
        load_checkpoint(folder)
    assert len(str(raised.value)) < 600


HUGE = """
import json, resource, sys
from dataclasses import replace
from pathlib import Path
from aasp_features import AaSPEncoder, CheckpointError
from aasp_features import checkpoint as loading
AaSPEncoder.from_pretrained(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in sys.argv[2:]:
    try:
        AaSPEncoder.from_pretrained(folder)
        print("loaded")
    except CheckpointError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_what_claims_to_be_huge_takes_no_memory(checkpoint: Path, tmp_path: Path) -> None:
    """A terabyte in a sparse file, and every number of a config at what it may be at most."""
    folders, sentences = [], []
    for file in ("config.json", "model.safetensors"):
        folders.append(copy_of(checkpoint, tmp_path / f"sparse-{file}"))
        os.truncate(folders[-1] / file, 2**40)
        sentences.append("longer than the 65536 bytes" if file == "config.json" else "safetensors is damaged")
    folders.append(copy_of(checkpoint, tmp_path / "header"))
    (folders[-1] / "model.safetensors").write_bytes((2**30).to_bytes(8, "little"))
    os.truncate(folders[-1] / "model.safetensors", 2**40)
    sentences.append("safetensors is damaged")
    for name, value in [("dim", 6000), ("depth", 128), ("lambda_hidden", 8192), ("window", 1024), ("states", 256)]:
        folders.append(copy_of(checkpoint, tmp_path / name))
        values = json.loads((folders[-1] / "config.json").read_text())
        (folders[-1] / "config.json").write_text(json.dumps({**values, name: value}))
        sentences.append("loaded" if name == "window" else "weights do not fit its config")
    command = [sys.executable, "-c", HUGE, str(checkpoint), *map(str, folders)]
    *said, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for line, sentence in zip(said, sentences, strict=True):
        assert sentence in line
    assert int(kilobytes) < 100_000


def test_float16_that_cannot_hold_the_weights(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    weights = {key: value.clone() for key, value in small_encoder.network.state_dict().items()}
    weights["cls"][0] = 1e5
    with pytest.raises(CheckpointError, match=r"as torch.float16, the weights cls would hold NaN or infinite numbers"):
        save_checkpoint(tmp_path / "half", small_encoder.config, weights, card="", half=True)
    assert not (tmp_path / "half").exists()
    save_checkpoint(tmp_path / "whole", small_encoder.config, weights, card="")
    assert load_checkpoint(tmp_path / "whole").weights["cls"][0] == 1e5


def test_a_card_of_any_bytes(checkpoint: Path, tmp_path: Path) -> None:
    folder = copy_of(checkpoint, tmp_path)
    (folder / "README.md").write_bytes(b"# \xff" + b"x" * 2**21)
    assert read_card(folder).startswith("# \ufffdx")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_checkpoint_that_may_not_be_read(checkpoint: Path) -> None:
    """By a process without root's rights, where the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o777)
        shutil.copytree(checkpoint, place / "locked")
        (place / "locked").chmod(0)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            with pytest.raises(CheckpointError, match=r"locked.*may not be read; check its permissions"):
                AaSPEncoder.from_pretrained(place / "locked")
        finally:
            if root:
                os.seteuid(0)
            (place / "locked").chmod(0o755)


def test_weights_are_what_safetensors_reads(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(TENSORS, metadata={"format": "pt"}))
    assert read_shapes(path, "x") == {"a": (2, 3), "b": (5,), "c": (1, 2, 3)}
    weights = read_weights(path, "x")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    for key, value in TENSORS.items():
        assert torch.equal(weights[key], value.float())
    path.write_bytes(save({**TENSORS, "b": torch.tensor([1.0, torch.inf]).half()}))
    with pytest.raises(CheckpointError, match=r"x: model\.safetensors holds NaN or infinite numbers in b\."):
        read_weights(path, "x")
    for kind in (torch.float64, torch.int64, torch.bool):
        path.write_bytes(save({"b": torch.ones(2).to(kind)}))
        with pytest.raises(CheckpointError, match=r"holds tensor 'b' as .*; F16, BF16 and F32 are read"):
            read_shapes(path, "x")


def changed(name: str, value: object) -> Callable[[dict], None]:
    return lambda header: header["b"].update({name: value})


@pytest.mark.parametrize(
    "edit",
    [
        changed("dtype", "F32"),
        changed("shape", [6]),
        changed("shape", [-5]),
        changed("shape", [2**62, 2**62]),
        changed("data_offsets", [0, 10]),
        changed("data_offsets", [10**9, 10**9 + 10]),
        lambda header: header.pop("c"),
        lambda header: header.update({"d" * 10**5: 7}),
    ],
)
def test_headers_that_lie(tmp_path: Path, edit: Callable[[dict], None]) -> None:
    data, path = save(TENSORS), tmp_path / "model.safetensors"
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[start:])
    with pytest.raises(CheckpointError, match=r"x: model.safetensors is damaged \(.*\); download it again\.") as raised:
        read_shapes(path, "x")
    assert len(str(raised.value)) < 500


@given(st.data())
def test_damage_is_seen_wherever_safetensors_sees_it(data: st.DataObject) -> None:
    """Bytes changed, cut or added: who reads it, reads what safetensors reads."""
    damaged = bytearray(save(TENSORS))
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = (damaged + data.draw(st.binary(max_size=3)))[: data.draw(st.integers(0, len(damaged) + 3))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(damaged)
        try:
            shapes, weights = read_shapes(path, "x"), read_weights(path, "x")
        except CheckpointError:
            return
    expected = load(bytes(damaged))
    assert shapes == {key: tuple(value.shape) for key, value in expected.items()}
    assert all(torch.equal(weights[key], value.float()) for key, value in expected.items())
