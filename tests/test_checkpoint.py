"""Checkpoints by name and in folders, and everything that can be wrong with one."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from aasp_features import AaSPEncoder, CheckpointError
from aasp_features import checkpoint as loading
from aasp_features.checkpoint import BUNDLED, DEFAULT, load_checkpoint, read_card, save_checkpoint


def test_extra_and_missing_weights(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    weights = small_encoder.network.state_dict()
    save_checkpoint(tmp_path, small_encoder.config, {**weights, "head.weight": torch.zeros(2)}, card="")
    with pytest.raises(CheckpointError, match=r"unknown head\.weight"):
        AaSPEncoder.from_pretrained(tmp_path)
    save_checkpoint(tmp_path, small_encoder.config, {k: v for k, v in weights.items() if k != "cls"}, card="")
    with pytest.raises(CheckpointError, match="missing cls"):
        AaSPEncoder.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["tiny", "a b/c", "a/b/c", "", "org/tiny@", "a" * 5000, "a\0b"])
def test_names_that_name_nothing(name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"is no folder and no checkpoint's name; give '{next(iter(BUNDLED))}'"):
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


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_bundled_checkpoint_that_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """In a copy of the package: one character of the config or one byte of the weights."""
    package = Path(shutil.copytree(Path(loading.__file__).parent / "checkpoints", tmp_path / "checkpoints")).parent
    monkeypatch.setattr(loading, "__file__", str(package / "checkpoint.py"))
    load_checkpoint()
    data = bytearray((package / "checkpoints" / DEFAULT / file).read_bytes())
    place = data.index(b"-") if file == "config.json" else len(data) // 2
    data[place] ^= 1
    (package / "checkpoints" / DEFAULT / file).write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{file} of the bundled checkpoint {DEFAULT} was changed; install"):
        load_checkpoint()
    (package / "checkpoints" / DEFAULT / file).unlink()
    with pytest.raises(CheckpointError, match=rf"this installation lacks {file} of the checkpoint {DEFAULT}"):
        load_checkpoint()


def test_folders_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json; a checkpoint has"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not an AaSP config"):
        load_checkpoint(tmp_path)


def test_a_save_that_fails_leaves_the_old_checkpoint(
    small_encoder: AaSPEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_encoder.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CheckpointError, match=r"could not be written .*No space left"):
        small_encoder.save_pretrained(tmp_path, half=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (b"{" * 60000, "not valid JSON"),
        (b"[" * 60000, r"not valid JSON \(nested too deeply\)|not valid JSON"),
        (b'{"model_type": "aasp", "dim": ' + b"9" * 5000 + b"}", "not valid JSON|unknown|missing"),
        (b'{"a": 1, "a": 2}', "key 'a' stands there twice"),
        (b'{"std": NaN}', "NaN is no number"),
        (b"\xff\xfe", "not UTF-8"),
        (b" " * 100_000_000, "longer than the 65536 bytes"),
    ],
)
def test_configs_that_are_not_json(checkpoint: Path, tmp_path: Path, config: bytes, sentence: str) -> None:
    folder = copy_of(checkpoint, tmp_path)
    (folder / "config.json").write_bytes(config)
    with pytest.raises(CheckpointError, match=sentence) as raised:
        load_checkpoint(folder)
    assert len(str(raised.value)) < 600


HUGE = """
import json, resource, sys
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
        sentences.append(
            "longer than the 65536 bytes" if file == "config.json" else "bytes of tensors, where its header"
        )
    folders.append(copy_of(checkpoint, tmp_path / "header"))
    (folders[-1] / "model.safetensors").write_bytes((2**30).to_bytes(8, "little"))
    os.truncate(folders[-1] / "model.safetensors", 2**40)
    sentences.append("a header of 1073741824 bytes")
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


def copy_of(checkpoint: Path, folder: Path) -> Path:
    return Path(shutil.copytree(checkpoint, folder, dirs_exist_ok=True))


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
