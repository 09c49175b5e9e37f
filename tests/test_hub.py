"""Checkpoints by name: a real Hub on loopback, folders, and everything that can be wrong with either."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from local_hub import TOKEN, LocalHub, Repository
from safetensors.torch import save

from aasp_features import AaSPEncoder, CheckpointError
from aasp_features.hub import BUNDLED, DEFAULT, load_checkpoint, save_checkpoint

Load = Callable[..., subprocess.CompletedProcess]

LOAD = """
import sys, json
from aasp_features import AaSPEncoder, CheckpointError
options = json.loads(sys.argv[1])
try:
    encoder = AaSPEncoder.from_pretrained(**options)
except CheckpointError as error:
    sys.exit(f"CheckpointError: {error}")
print(encoder.config.name, float(encoder.network.cls.double().sum()))
"""


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[LocalHub]:
    """A Hub with one public repository, org/tiny."""
    with LocalHub() as server:
        server.repositories["org/tiny"] = Repository()
        server.repositories["org/tiny"].commit({path.name: path.read_bytes() for path in checkpoint.iterdir()})
        yield server


@pytest.fixture
def environment(hub: LocalHub, tmp_path: Path) -> dict[str, str]:
    """huggingface_hub reads these once, at its import, so the tests load in processes of their own."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    patient = {"HF_HUB_ETAG_TIMEOUT": "600", "HF_HUB_DOWNLOAD_TIMEOUT": "600"}  # a busy machine may need more than 10 s
    return {**os.environ, **quiet, **patient, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}


@pytest.fixture
def load(environment: dict[str, str]) -> Load:
    def run(name: str, extra: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", LOAD, json.dumps({"name": name, **options})]
        return subprocess.run(command, capture_output=True, text=True, env={**environment, **(extra or {})})

    return run


def assert_fails(done: subprocess.CompletedProcess, sentence: str) -> None:
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("CheckpointError: ")
    assert sentence in done.stderr


def test_download_then_cache(hub: LocalHub, load: Load, small_encoder: AaSPEncoder) -> None:
    expected = f"{small_encoder.config.name} {float(small_encoder.network.cls.double().sum())}\n"
    assert load("org/tiny").stdout == expected
    asked = [request for request in hub.requests if request.startswith("GET") and "/resolve/" in request]
    assert {request.rsplit("/", 1)[1] for request in asked} == {"config.json", "model.safetensors", "README.md"}
    hub.requests.clear()
    assert load("org/tiny", {"HF_HUB_OFFLINE": "1"}).stdout == expected
    assert load("org/tiny", local_files_only=True).stdout == expected
    assert hub.requests == []
    hub.stop()
    assert load("org/tiny").stdout == expected


def test_revisions(hub: LocalHub, load: Load, small_encoder: AaSPEncoder) -> None:
    repository = hub.repositories["org/tiny"]
    first = repository.branches["main"]
    config = small_encoder.config.replace(name="aasp-test-random-2").to_json().encode()
    repository.commit({"config.json": config})
    assert load("org/tiny").stdout.startswith("aasp-test-random-2")
    assert load("org/tiny", revision=first).stdout.startswith("aasp-test-random-1")
    assert load(f"org/tiny@{first}").stdout.startswith("aasp-test-random-1")
    hub.stop()
    assert load(f"org/tiny@{first}").stdout.startswith("aasp-test-random-1")
    assert_fails(load(f"org/tiny@{first}", revision="main"), "drop one of them")


def test_what_is_not_there(hub: LocalHub, load: Load, environment: dict[str, str]) -> None:
    assert_fails(load("org/gone"), "org/gone: the Hub has no such repository, or it is private")
    assert_fails(load("org/tiny@v9"), "org/tiny@v9: the Hub has no such revision")
    assert_fails(load("org/other", {"HF_HUB_OFFLINE": "1"}), "org/other: not in the local cache")
    hub.stop()
    assert_fails(load("org/other"), "org/other: not in the local cache, and the Hub cannot be reached")


def test_private_repositories_want_a_token(hub: LocalHub, load: Load) -> None:
    hub.repositories["org/tiny"].private = True
    assert_fails(load("org/tiny"), "or it is private; check the name, or pass token=")
    assert load("org/tiny", token=TOKEN).returncode == 0
    assert load("org/tiny", {"HF_TOKEN": TOKEN}).returncode == 0


def truncated(files: dict[str, bytes]) -> dict[str, bytes]:
    return {"model.safetensors": files["model.safetensors"][:-1000]}


def tampered(files: dict[str, bytes]) -> dict[str, bytes]:
    return {"model.safetensors": files["model.safetensors"].replace(b'"F32"', b'"F16"', 1)}


def other_architecture(files: dict[str, bytes]) -> dict[str, bytes]:
    return {"config.json": files["config.json"].replace(b'"depth": 2', b'"depth": 3')}


def unknown_key(files: dict[str, bytes]) -> dict[str, bytes]:
    return {"config.json": files["config.json"].replace(b'"depth": 2', b'"depth": 2, "colour": 1')}


def not_finite(files: dict[str, bytes]) -> dict[str, bytes]:
    return {"model.safetensors": save({"cls": torch.tensor([float("nan")])})}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncated, "model.safetensors is damaged"),
        (tampered, "model.safetensors is damaged"),
        (other_architecture, "weights do not fit its config: missing blocks.2"),
        (unknown_key, "unknown keys ['colour']"),
        (not_finite, "NaN or infinite numbers in cls"),
    ],
)
def test_damaged_checkpoints(hub: LocalHub, load: Load, damage: Callable, sentence: str) -> None:
    repository = hub.repositories["org/tiny"]
    repository.commit(damage(repository.commits[repository.branches["main"]]))
    assert_fails(load("org/tiny"), sentence)


def test_extra_and_missing_weights(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    weights = small_encoder.network.state_dict()
    save_checkpoint(tmp_path, small_encoder.config, {**weights, "head.weight": torch.zeros(2)}, card="")
    with pytest.raises(CheckpointError, match=r"unknown head\.weight"):
        AaSPEncoder.from_pretrained(tmp_path)
    save_checkpoint(tmp_path, small_encoder.config, {k: v for k, v in weights.items() if k != "cls"}, card="")
    with pytest.raises(CheckpointError, match="missing cls"):
        AaSPEncoder.from_pretrained(tmp_path)


def test_pickles_are_never_read(hub: LocalHub, load: Load, small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text(small_encoder.config.to_json())
    torch.save(small_encoder.network.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin would have to be unpickled"):
        AaSPEncoder.from_pretrained(folder)
    hub.repositories["org/pickled"] = Repository()
    hub.repositories["org/pickled"].commit({path.name: path.read_bytes() for path in folder.iterdir()})
    assert_fails(load("org/pickled"), "weights are read from safetensors only")
    assert not any("pytorch_model" in request for request in hub.requests)


def test_push_and_load_again(hub: LocalHub, load: Load, environment: dict[str, str], checkpoint: Path) -> None:
    push = (
        "import sys; from aasp_features import AaSPEncoder\n"
        "encoder = AaSPEncoder.from_pretrained(sys.argv[1])\n"
        "print(encoder.push_to_hub('me/mine', half=True, private=True, token=sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", push, str(checkpoint), TOKEN], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == f"{hub.endpoint}/me/mine", done.stderr
    files = hub.repositories["me/mine"].commits[hub.repositories["me/mine"].branches["main"]]
    assert {"config.json", "model.safetensors", "README.md"} <= set(files)
    assert hub.repositories["me/mine"].private
    assert load("me/mine", token=TOKEN).stdout.startswith("aasp-test-random-1")
    done = subprocess.run(
        [sys.executable, "-c", push, str(checkpoint), "hf_wrong"], capture_output=True, text=True, env=environment
    )
    assert "me/mine: the Hub did not take the checkpoint" in done.stderr


@pytest.mark.parametrize("name", ["tiny", "a b/c", "a/b/c", "", "org/tiny@"])
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
