"""Checkpoints: a name, a folder or a Hub repository -> config and weights; and back, saved or pushed.

A checkpoint holds ``config.json``, ``model.safetensors`` and ``README.md``. Loading is strict (every key, every shape,
finite values) and never unpickles. A folder and the bundled checkpoints need no network.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from aasp_features.checkpoints import BUNDLED, CONFIG_FILE, DEFAULT, WEIGHTS_FILE, bundled_folder
from aasp_features.config import MAX_JSON, AaSPConfig
from aasp_features.contents import sha256
from aasp_features.errors import CheckpointError
from aasp_features.forked import mind_fork
from aasp_features.model.network import AaSPNetwork
from aasp_features.version import __version__

CARD_FILE = "README.md"
SAVED = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)  # in this order
CLASSIFIER_FILES = ("classifier.json", "classifier.safetensors")  # of checkpoints that name sounds, too
DOWNLOADED = [*SAVED, *CLASSIFIER_FILES, "ATTRIBUTION.md", "LICENSE*"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
DTYPES = ("F16", "BF16", "F32")
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
SHA256 = re.compile(r"[0-9a-f]{64}")
SPARE_PARAMETERS = 2**22  # that a config may ask for beyond twice those stored, and be compared key by key
LIBRARY: dict[str, Any] = {"library_name": "aasp-features", "library_version": __version__}
MAX_CARD = 2**20  # bytes of a card that are read
MAX_DOWNLOAD = 2**33  # bytes: twice what the largest network has in float32
SPARE_DOWNLOAD = 2**24  # bytes beyond what the server announced: texts may be announced by their compressed size


class Checkpoint(NamedTuple):
    """A checkpoint that was read.

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
        CheckpointError: not found, not readable, damaged, or weights that do not fit the config.
    """
    mind_fork()
    folder, source = _find(name, revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only)
    with readable(source):
        config = _read_config(folder, source)
        weights, digest = _read_network(folder, source, config)
    return Checkpoint(config, weights, source, digest, folder)


def read_card(name: str | Path | None = None) -> str:
    """Return a checkpoint's card, Markdown; empty if it has none.

    Raises:
        CheckpointError: no such checkpoint.
    """
    path = _find(name, None)[0] / CARD_FILE
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(MAX_CARD).decode("utf-8", errors="replace")


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a module, strictly; the module is untouched if anything does not fit.

    Raises:
        CheckpointError: missing or unknown keys, or other shapes.
    """
    _check_fit(module, {key: tuple(value.shape) for key, value in weights.items()}, source)
    module.load_state_dict(weights, strict=True)


def save_checkpoint(
    folder: str | Path, config: AaSPConfig, weights: Mapping[str, Tensor], *, card: str, half: bool = False
) -> Path:
    """Write a checkpoint folder.

    Args:
        folder: made if need be; files of an older checkpoint in it are replaced.
        config, weights: what to save; ``half`` stores float16.
        card: text of README.md.

    Raises:
        CheckpointError: the folder cannot be written, or weights are NaN, infinite, or too large for float16.
    """
    dtype = torch.float16 if half else torch.float32
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in weights.items()}
    if broken := _not_finite(tensors):
        raise CheckpointError(f"{folder}: as {dtype}, the weights {broken} would hold NaN or infinite numbers.")
    texts = {CONFIG_FILE: config.to_json().encode(), CARD_FILE: card.encode()}
    write_files(Path(folder), {WEIGHTS_FILE: save(tensors, metadata={"format": "pt"}), **texts})
    return Path(folder)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files into a folder, one after the other; each is complete or absent, whatever happens.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
            for name, content in files.items():
                (Path(temporary) / name).write_bytes(content)
            for name in files:
                os.replace(Path(temporary) / name, folder / name)
    except OSError as error:
        raise CheckpointError(f"{folder}: the checkpoint could not be written ({error}).") from error


def push_checkpoint(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload an AaSP checkpoint",
) -> str:
    """Upload a checkpoint folder to the Hub, making the repository if need be; return its address.

    Raises:
        CheckpointError: not a checkpoint, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    with readable(str(folder)):
        _read_config(Path(folder), str(folder))
    api = HfApi(token=token, **LIBRARY)
    options: dict[str, Any] = {"revision": revision, "commit_message": commit_message, "allow_patterns": DOWNLOADED}
    try:
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=str(folder), **options)
    except Exception as error:  # of the Hub's client, of HTTP, of JSON, of the file system: there are dozens
        raise CheckpointError(f"{repo_id}: the Hub did not take the checkpoint ({_first_line(error)}).") from error
    return str(url)


@contextmanager
def readable(source: str) -> Iterator[None]:
    """Turn what the file system says of a checkpoint's files into a CheckpointError."""
    try:
        yield
    except PermissionError as error:
        raise CheckpointError(f"{source}: {error.filename} may not be read; check its permissions.") from error
    except OSError as error:
        name = Path(str(error.filename)).name if error.filename else "a file"
        raise CheckpointError(f"{source}: {name} cannot be read ({error.strerror or error}).") from error


def read_shapes(path: Path, source: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a file by its header alone, which safetensors checks against its size.

    Args:
        path: of the file.
        source: what messages call the checkpoint.

    Raises:
        CheckpointError: not safetensors, cut off, or types other than float16, bfloat16 and float32.
        OSError: it cannot be read.
    """
    shapes = {}
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no mapping
                tensor = file.get_slice(name)
                if (dtype := tensor.get_dtype()) not in DTYPES:
                    raise CheckpointError(
                        f"{source}: {path.name} holds tensor {name[:60]!r} as {dtype}; F16, BF16 and F32 are read."
                    )
                shapes[name] = tuple(tensor.get_shape())
    except SafetensorError as error:
        raise _damaged(path, source, str(error)[:300]) from error
    return shapes


def read_weights(path: Path, source: str) -> dict[str, Tensor]:
    """Return the tensors of a file whose shapes were found right: float32, on the CPU, all of them finite.

    Raises:
        CheckpointError: NaN or infinite numbers.
        OSError: it cannot be read.
    """
    weights = {key: value.float() for key, value in load_file(path).items()}
    if broken := _not_finite(weights):
        raise CheckpointError(f"{source}: {path.name} holds NaN or infinite numbers in {broken}.")
    return weights


def _read_config(folder: Path, source: str) -> AaSPConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{source}: no {CONFIG_FILE}; a checkpoint has {CONFIG_FILE} and {WEIGHTS_FILE}.")
    try:
        with path.open("rb") as file:
            return AaSPConfig.from_json(file.read(MAX_JSON + 1))
    except ValueError as error:
        where = "" if source == str(folder) else f"; the file is {path.resolve()}"  # what the Hub's cache keeps
        raise CheckpointError(f"{source}: {str(error).rstrip('.')}{where}.") from error


def _read_network(folder: Path, source: str, config: AaSPConfig) -> tuple[dict[str, Tensor], str]:
    """Return weights that fit the config, and the file's sha256."""
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        offered = f" ({', '.join(pickles)} would have to be unpickled, which is not safe)" if pickles else ""
        raise CheckpointError(f"{source}: no {WEIGHTS_FILE}{offered}; weights are read from safetensors only.")
    shapes = read_shapes(path, source)
    stored = sum(math.prod(shape) for shape in shapes.values())
    if config.num_parameters > 2 * stored + SPARE_PARAMETERS:  # before a network of that size is made to compare with
        raise CheckpointError(
            f"{source}: weights do not fit its config: the file has {stored} numbers, the config asks for about "
            f"{config.num_parameters}."
        )
    _check_fit(AaSPNetwork(config), shapes, source)
    digest, stored_as = sha256(path), path.resolve().name
    if SHA256.fullmatch(stored_as) and digest != stored_as:  # as the Hub's cache names large files
        raise _damaged(path, source, f"its sha256 is not that which the Hub gave; delete {path.resolve()}")
    return read_weights(path, source), digest


def _check_fit(module: nn.Module, given: Mapping[str, tuple[int, ...]], source: str) -> None:
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    problems = [
        *(f"missing {key}" for key in own if key not in given),
        *(f"unknown {key[:60]}" for key in given if key not in own),
        *(f"{key} is {given[key]}, not {shape}" for key, shape in own.items() if given.get(key, shape) != shape),
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{source}: weights do not fit its config: {'; '.join(problems[:3])}{more}.")


def _damaged(path: Path, source: str, what: str) -> CheckpointError:
    return CheckpointError(f"{source}: {path.name} is damaged ({what}); download it again.")


def _not_finite(weights: Mapping[str, Tensor]) -> str | None:
    return next((key for key, value in weights.items() if not torch.isfinite(value).all()), None)


def _find(name: str | Path | None, revision: str | None, **hub_options: Any) -> tuple[Path, str]:
    """Return a checkpoint's folder, and what messages call it."""
    if name is None or str(name) in BUNDLED:
        name = str(name or DEFAULT)
        return bundled_folder(name), f"the bundled checkpoint {name}"
    if str(name) and os.path.isdir(name):  # and not Path's, which raises for what cannot be a name
        return Path(name), str(name)
    if not HUB_NAME.fullmatch(str(name)):
        known = get_close_matches(str(name), BUNDLED, n=1) or BUNDLED
        raise CheckpointError(
            f"{str(name)[:200]!r} is no folder and no checkpoint's name; give {' or '.join(map(repr, known))} "
            "(bundled), a folder, or org/name[@revision]."
        )
    repository, _, at = str(name).partition("@")
    if at and revision not in (None, at):
        raise CheckpointError(f"{name!r} names revision {at!r}, but revision={revision!r} was given; drop one of them.")
    revision = at or revision
    source = repository if revision is None else f"{repository}@{revision}"
    return _download(repository, source, revision=revision, **hub_options), source


def _download(repository: str, source: str, **hub_options: Any) -> Path:
    """Return the folder in huggingface_hub's cache that holds a repository, fetched where it is not there yet."""
    from huggingface_hub import snapshot_download

    options = {"allow_patterns": DOWNLOADED, "tqdm_class": _bounded_bar(source), **LIBRARY, **hub_options}
    try:
        try:
            return Path(snapshot_download(repository, **options))
        except OSError as error:
            # Older clients (0.24 to 1.1) go on behind what a broken download left, which is then too long for ever.
            if "Consistency check failed" not in str(error):
                raise
            return Path(snapshot_download(repository, force_download=True, **options))
    except Exception as error:  # as many kinds as in push_checkpoint
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{source}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """Say what a failed download means, and what to do."""
    from huggingface_hub import utils

    errors: Any = utils  # where the oldest versions have them, too
    status = _status(error)
    told: list[tuple[object, str]] = [  # the first that holds: GatedRepoError is a kind of RepositoryNotFoundError
        (status == 429, "the Hub had too many requests from here (429); wait some minutes, or pass token=."),
        (status >= 500, f"the Hub failed ({status}); try again later."),
        (errors.GatedRepoError, "access is restricted; ask for it on the Hub, then pass token=."),
        (errors.RevisionNotFoundError, "the Hub has no such revision of this repository."),
        (errors.RepositoryNotFoundError, "the Hub has no such repository, or it is private; check it, or pass token=."),
        (status == 403, "the Hub refuses access (403); check that the token may read this repository."),
        (errors.LocalEntryNotFoundError, "not in the local cache, and the Hub cannot be reached; go online once."),
        (True, f"the download failed ({_first_line(error)})."),
    ]
    return next(text for when, text in told if when is True or (isinstance(when, type) and isinstance(error, when)))


def _status(error: BaseException | None) -> int:
    """Return the HTTP status behind an error, which the client wraps into others; 0 where there was no answer."""
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return 0


def _bounded_bar(source: str) -> Any:
    """Make a progress bar for snapshot_download that ends a body without end; the client itself would fill the disk.

    Old versions of the client count files by it, not bytes, and have no hook that could bound a body.
    """
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class BoundedBar(tqdm):
        received = 0

        def update(self, n: float | None = 1) -> Any:
            self.received += int(n or 0)
            most = min(MAX_DOWNLOAD, self.total + SPARE_DOWNLOAD) if self.total else MAX_DOWNLOAD
            if self.received > most:
                raise CheckpointError(f"{source}: the server sends more than {most} bytes, which no file of it has.")
            return super().update(n)

    return BoundedBar


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:300]
