"""A checkpoint by name or folder -> config and weights; and back: save, push.

A checkpoint is a folder or Hub repository with ``config.json``, ``model.safetensors`` and ``README.md``. Loading is
strict (every key, every shape, finite values) and never unpickles. A folder and the bundled checkpoint need no network.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from aasp_features.config import MOST_JSON, AaSPConfig
from aasp_features.errors import CheckpointError
from aasp_features.forked import mind_fork
from aasp_features.hub_repository import download, upload
from aasp_features.model.network import AaSPNetwork
from aasp_features.weights_file import damaged, not_finite, read_shapes, read_weights, sha256

BUNDLED = {  # checkpoints in this package, by name, with the sha256 of their weights and of their config
    "aasp-tiny-open-3": (
        "ce0a97490d0d1826dc62e3404c7ea68295eb3cbd02b27cd584bedb1ff8e787fd",
        "9efec197085decf6960151ddd688625004aecf9034edb95d228490b9a7db03ae",
    ),
    "aasp-tiny-pack-1": (
        "f88d9dab42c5723742f1618c90507336b4018e1999cd3c30062c03cf7186dd47",
        "d09aa03baf18263b9ecef26fcbe8fc4c65c1ab68ee45934db54b2711cd9eabc6",
    ),
}
DEFAULT = "aasp-tiny-open-3"
SPARE_NUMBERS = 2**22  # that a config may ask for beyond twice those stored, and be compared key by key
MOST_CARD = 2**20  # bytes of a card that are read
CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
SAVED = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)  # in this order
CLASSIFIER_FILES = ("classifier.json", "classifier.safetensors")  # of checkpoints that name sounds, too
DOWNLOADED = [*SAVED, *CLASSIFIER_FILES, "ATTRIBUTION.md", "LICENSE*"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
SHA256 = re.compile(r"[0-9a-f]{64}")


class Checkpoint(NamedTuple):
    """What was read.

    Attributes:
        config: architecture, front end, defaults.
        weights: float32, on the CPU.
        source: where it came from, for messages.
        sha256: of the file of weights.
        folder: that holds its files.
    """

    config: AaSPConfig
    weights: dict[str, Tensor]
    source: str
    sha256: str
    folder: Path


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
    mind_fork()
    folder, source = _find(name, revision, token, cache_dir, local_files_only)
    try:
        config = _read_config(folder, source)
        weights, digest = _read_weights(folder, source, config)
    except PermissionError as error:
        raise CheckpointError(f"{source}: {error.filename} may not be read; check its permissions.") from error
    return Checkpoint(config, weights, source, digest, folder)


def read_card(name: str | Path | None = None) -> str:
    """A checkpoint's card, Markdown; empty if it has none.

    Raises:
        CheckpointError: no such checkpoint.
    """
    folder, _ = _find(name, None, None, None, False)
    path = folder / CARD_FILE
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MOST_CARD).decode("utf-8", errors="replace")


def bundled_folder(name: str = DEFAULT) -> Path:
    """The folder of a checkpoint in this package, the sha256 of its weights and config verified.

    Args:
        name: one of ``BUNDLED``.

    Raises:
        CheckpointError: it is missing or was changed.
    """
    folder = Path(__file__).parent / "checkpoints" / name
    for file, expected in zip((WEIGHTS_FILE, CONFIG_FILE), BUNDLED[name], strict=True):
        if not (folder / file).is_file():
            raise CheckpointError(
                f"this installation lacks {file} of the checkpoint {name}; install aasp-features again."
            )
        if sha256(folder / file) != expected:
            raise CheckpointError(f"{file} of the bundled checkpoint {name} was changed; install aasp-features again.")
    return folder


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a module, strictly; the module is untouched if anything does not fit.

    Raises:
        CheckpointError: missing or unknown keys, or other shapes.
    """
    given = {key: tuple(value.shape) for key, value in weights.items()}
    _check_fit(module, given, source)
    module.load_state_dict(weights, strict=True)


def _check_fit(module: nn.Module, given: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Are weights of these shapes those of the module, neither more nor less?"""
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    problems = [
        *(f"missing {key}" for key in own if key not in given),
        *(f"unknown {key[:60]}" for key in given if key not in own),
        *(f"{key} is {given[key]}, not {shape}" for key, shape in own.items() if given.get(key, shape) != shape),
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{source}: weights do not fit its config: {'; '.join(problems[:3])}{more}.")


def save_checkpoint(
    folder: str | Path, config: AaSPConfig, weights: Mapping[str, Tensor], *, card: str, half: bool = False
) -> Path:
    """Write a checkpoint folder. Each file is complete or absent, whatever happens.

    Args:
        folder: made if need be; files of an older checkpoint in it are replaced.
        config, weights: what to save; ``half`` stores float16.
        card: text of README.md.

    Raises:
        CheckpointError: the folder cannot be written, or weights are NaN, infinite, or too large for float16.
    """
    folder = Path(folder)
    dtype = torch.float16 if half else torch.float32
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in weights.items()}
    if broken := not_finite(tensors):
        raise CheckpointError(f"{folder}: as {dtype}, the weights {broken} would hold NaN or infinite numbers.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
            (Path(temporary) / WEIGHTS_FILE).write_bytes(save(tensors, metadata={"format": "pt"}))
            (Path(temporary) / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
            (Path(temporary) / CARD_FILE).write_text(card, encoding="utf-8")
            for file in SAVED:
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
    folder = Path(folder)
    _read_config(folder, str(folder))
    settings = {"private": private, "token": token, "revision": revision, "commit_message": commit_message}
    return upload(folder, repo_id, patterns=DOWNLOADED, **settings)  # type: ignore[arg-type]


def _find(
    name: str | Path | None, revision: str | None, token: str | None, cache_dir: Any, local_files_only: bool
) -> tuple[Path, str]:
    """A checkpoint's folder, and what messages call it."""
    if name is None or str(name) in BUNDLED:
        name = str(name or DEFAULT)
        return bundled_folder(name), f"the bundled checkpoint {name}"
    if str(name) and os.path.isdir(name):  # and not Path's, which raises for what cannot be a name
        return Path(name), str(name)
    repository, revision = _hub_name(str(name), revision)
    source = repository if revision is None else f"{repository}@{revision}"
    folder = download(
        repository,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        patterns=DOWNLOADED,
        source=source,
    )
    return folder, source


def _hub_name(name: str, revision: str | None) -> tuple[str, str | None]:
    if not HUB_NAME.fullmatch(name):
        raise CheckpointError(
            f"{name[:200]!r} is no folder and no checkpoint's name; give {' or '.join(map(repr, BUNDLED))} (bundled), "
            "a folder, or org/name[@revision]."
        )
    repository, _, at = name.partition("@")
    if at and revision not in (None, at):
        raise CheckpointError(f"{name!r} names revision {at!r}, but revision={revision!r} was given; drop one of them.")
    return repository, at or revision


def _read_config(folder: Path, source: str) -> AaSPConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{source}: no {CONFIG_FILE}; a checkpoint has {CONFIG_FILE} and {WEIGHTS_FILE}.")
    try:
        with path.open("rb") as file:
            return AaSPConfig.from_json(file.read(MOST_JSON + 1))
    except ValueError as error:
        where = "" if source == str(folder) else f"; the file is {path.resolve()}"  # what the Hub's cache keeps
        raise CheckpointError(f"{source}: {str(error).rstrip('.')}{where}.") from error
    except OSError as error:
        raise CheckpointError(f"{source}: {CONFIG_FILE} cannot be read ({error.strerror or error}).") from error


def _read_weights(folder: Path, source: str, config: AaSPConfig) -> tuple[dict[str, Tensor], str]:
    """Weights that fit the config, and the file's sha256."""
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        offered = f" ({', '.join(pickles)} would have to be unpickled, which is not safe)" if pickles else ""
        raise CheckpointError(f"{source}: no {WEIGHTS_FILE}{offered}; weights are read from safetensors only.")
    try:
        shapes = read_shapes(path, source)
        stored = sum(math.prod(shape) for shape in shapes.values())
        if config.numbers > 2 * stored + SPARE_NUMBERS:  # before a network of that size is made to compare with
            raise CheckpointError(
                f"{source}: weights do not fit its config: {stored} numbers, and a network of about {config.numbers}."
            )
        _check_fit(AaSPNetwork(config), shapes, source)
        digest, stored_as = sha256(path), path.resolve().name
        if SHA256.fullmatch(stored_as) and digest != stored_as:  # as the Hub's cache names large files
            raise damaged(path, source, f"its sha256 is not that which the Hub gave; delete {path.resolve()}")
        return read_weights(path, source), digest
    except OSError as error:
        raise CheckpointError(f"{source}: {WEIGHTS_FILE} cannot be read ({error.strerror or error}).") from error
