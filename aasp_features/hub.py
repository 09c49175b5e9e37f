"""A checkpoint by name or folder -> config and weights; and back: save, push.

A checkpoint is a folder or Hub repository with ``config.json``, ``model.safetensors`` and ``README.md``. Loading is
strict (every key, every shape, finite values) and never unpickles. A folder and the bundled checkpoint need no network.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from aasp_features.config import AaSPConfig
from aasp_features.errors import AaSPError
from aasp_features.version import __version__

BUNDLED = {  # checkpoints in this package, by name, with the sha256 of their weights
    "aasp-tiny-open-1": "63d4a06cb6b4805a574a46807559e8b9585ea3b75c75d8c169d7eaa201ea8aba",
    "aasp-tiny-pack-1": "f88d9dab42c5723742f1618c90507336b4018e1999cd3c30062c03cf7186dd47",
}
DEFAULT = "aasp-tiny-open-1"
CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
DOWNLOADED = [CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, "ATTRIBUTION.md", "LICENSE*"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


class CheckpointError(AaSPError, RuntimeError):
    """A checkpoint that cannot be found, read, written or trusted; the sentence says what to do."""


class Checkpoint(NamedTuple):
    """What was read.

    Attributes:
        config: architecture, front end, defaults.
        weights: float32, on the CPU.
        source: where it came from, for messages.
        sha256: of the file of weights.
    """

    config: AaSPConfig
    weights: dict[str, Tensor]
    source: str
    sha256: str


def load_checkpoint(
    name: str | Path | None = None,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Checkpoint:
    """Find and read a checkpoint.

    Args:
        name: None for the default; a bundled one's name; an existing folder, which wins over a Hub name; or
            ``org/name[@revision]`` on the Hub.
        revision, token, cache_dir, local_files_only: for the Hub, as in huggingface_hub.

    Raises:
        CheckpointError: see the class.
    """
    folder, source = _find(name, revision, token, cache_dir, local_files_only)
    config = _read_config(folder, source)
    weights = _read_weights(folder, source)
    return Checkpoint(config, weights, source, hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest())


def read_card(name: str | Path | None = None) -> str:
    """A checkpoint's card, Markdown; empty if it has none.

    Raises:
        CheckpointError: no such checkpoint.
    """
    folder, _ = _find(name, None, None, None, False)
    path = folder / CARD_FILE
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def bundled_folder(name: str = DEFAULT) -> Path:
    """The folder of a checkpoint in this package, its weights' sha256 verified.

    Args:
        name: one of ``BUNDLED``.

    Raises:
        CheckpointError: it is missing or was changed.
    """
    folder = Path(__file__).parent / "checkpoints" / name
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f"this installation lacks the bundled checkpoint {name}; install aasp-features again.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != BUNDLED[name]:
        raise CheckpointError(f"the bundled checkpoint {name} has been changed; install aasp-features again.")
    return folder


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a module, strictly; the module is untouched if anything does not fit.

    Raises:
        CheckpointError: missing or unknown keys, or other shapes.
    """
    own = module.state_dict()
    problems = [
        *(f"missing {key}" for key in own if key not in weights),
        *(f"unknown {key}" for key in weights if key not in own),
        *(
            f"{key} is {tuple(weights[key].shape)}, not {tuple(value.shape)}"
            for key, value in own.items()
            if key in weights and weights[key].shape != value.shape
        ),
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{source}: weights do not fit its config: {'; '.join(problems[:3])}{more}.")
    module.load_state_dict(weights, strict=True)


def save_checkpoint(
    folder: str | Path, config: AaSPConfig, weights: Mapping[str, Tensor], *, card: str, half: bool = False
) -> Path:
    """Write a checkpoint folder. Each file is complete or absent, whatever happens.

    Args:
        folder: made if need be; files of an older checkpoint in it are replaced.
        config, weights: what to save; ``half`` stores float16.
        card: text of README.md.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    folder = Path(folder)
    dtype = torch.float16 if half else torch.float32
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in weights.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
            (Path(temporary) / WEIGHTS_FILE).write_bytes(save(tensors, metadata={"format": "pt"}))
            (Path(temporary) / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
            (Path(temporary) / CARD_FILE).write_text(card, encoding="utf-8")
            for file in (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE):
                os.replace(Path(temporary) / file, folder / file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: the checkpoint could not be written ({error}).") from error
    return folder


def push_checkpoint(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload an AaSP checkpoint",
) -> str:
    """Upload a checkpoint folder to the Hub, making the repository if need be; returns its address.

    Raises:
        CheckpointError: not a checkpoint, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    _read_config(Path(folder), str(folder))
    api = HfApi(token=token, library_name="aasp-features", library_version=__version__)
    try:
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            revision=revision,
            commit_message=commit_message,
            allow_patterns=DOWNLOADED,
        )
    except Exception as error:
        raise CheckpointError(f"{repo_id}: the Hub did not take the checkpoint ({_first_line(error)}).") from error
    return str(url)


def _find(
    name: str | Path | None, revision: str | None, token: str | None, cache_dir: Any, local_files_only: bool
) -> tuple[Path, str]:
    """A checkpoint's folder, and what messages call it."""
    if name is None or str(name) in BUNDLED:
        name = str(name or DEFAULT)
        return bundled_folder(name), f"the bundled checkpoint {name}"
    if str(name) and Path(name).is_dir():
        return Path(name), str(name)
    repository, revision = _hub_name(str(name), revision)
    source = repository if revision is None else f"{repository}@{revision}"
    return _download(repository, revision, token, cache_dir, local_files_only, source), source


def _hub_name(name: str, revision: str | None) -> tuple[str, str | None]:
    if not HUB_NAME.fullmatch(name):
        raise CheckpointError(
            f"{name!r} is no folder and no checkpoint's name; give {' or '.join(map(repr, BUNDLED))} (bundled), a "
            "folder, or org/name[@revision]."
        )
    repository, _, at = name.partition("@")
    if at and revision not in (None, at):
        raise CheckpointError(f"{name!r} names revision {at!r}, but revision={revision!r} was given; drop one of them.")
    return repository, at or revision


def _download(
    repository: str, revision: str | None, token: str | None, cache_dir: Any, local_files_only: bool, source: str
) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # where old versions have them too
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            allow_patterns=[*DOWNLOADED],
            library_name="aasp-features",
            library_version=__version__,
        )
    except GatedRepoError as error:
        raise CheckpointError(f"{source}: access is restricted; ask for it on the Hub, then pass token=.") from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{source}: the Hub has no such revision of this repository.") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{source}: the Hub has no such repository, or it is private; check the name, or pass token=."
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{source}: not in the local cache, and the Hub cannot be reached; go online once, or give a folder, or "
            f"{DEFAULT!r} (bundled)."
        ) from error
    except Exception as error:
        raise CheckpointError(f"{source}: the download failed ({_first_line(error)}).") from error
    return Path(folder)


def _read_config(folder: Path, source: str) -> AaSPConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{source}: no {CONFIG_FILE}; a checkpoint has {CONFIG_FILE} and {WEIGHTS_FILE}.")
    try:
        return AaSPConfig.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def _read_weights(folder: Path, source: str) -> dict[str, Tensor]:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        offered = f" ({', '.join(pickles)} would have to be unpickled, which is not safe)" if pickles else ""
        raise CheckpointError(f"{source}: no {WEIGHTS_FILE}{offered}; weights are read from safetensors only.")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{source}: {WEIGHTS_FILE} is damaged ({error}); download it again.") from error
    if broken := [key for key, value in weights.items() if not torch.isfinite(value).all()]:
        raise CheckpointError(f"{source}: {WEIGHTS_FILE} holds NaN or infinite numbers in {broken[0]}.")
    return {key: value.float() for key, value in weights.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
