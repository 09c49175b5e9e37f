"""A repository on the Hub -> a folder in the cache, and back; whatever a server does ends in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aasp_features.errors import CheckpointError
from aasp_features.version import __version__

MOST_BYTES = 2**33  # of a checkpoint: twice what the largest network has in float32
SPARE_BYTES = 2**24  # beyond what the server announced: texts may be announced by their compressed size
LIBRARY: dict[str, Any] = {"library_name": "aasp-features", "library_version": __version__}


def download(
    repository: str,
    *,
    revision: str | None,
    token: str | None,
    cache_dir: Any,
    local_files_only: bool,
    patterns: Sequence[str],
    source: str,
) -> Path:
    """The folder in huggingface_hub's cache that holds a repository's files, fetched where they are not there yet.

    Args:
        repository: ``org/name``.
        revision, token, cache_dir, local_files_only: as in huggingface_hub.
        patterns: names of files; others are not fetched.
        source: what messages call it.

    Raises:
        CheckpointError: not there, not allowed, not reachable; or the server sends anything but these files.
    """
    from huggingface_hub import snapshot_download

    fetch = partial(
        snapshot_download,
        repository,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        allow_patterns=list(patterns),
        tqdm_class=_bounded_bar(source),
        **LIBRARY,
    )
    try:
        try:
            folder = fetch()
        except OSError as error:
            # Older clients (0.24 to 1.1) go on behind what a broken download left, which is then too long for ever.
            if "Consistency check failed" not in str(error):
                raise
            folder = fetch(force_download=True)
    except CheckpointError:
        raise
    except Exception as error:  # of the Hub's client, of HTTP, of JSON, of the file system: there are dozens
        raise CheckpointError(f"{source}: {_why(error)}") from error
    return Path(folder)


def _why(error: Exception) -> str:
    """What a failed download means, and what to do."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # where old versions have them too
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = _status(error)
    if status == 429:
        return "the Hub had too many requests from here (429); wait some minutes, or pass token= for a higher limit."
    if status >= 500:
        return f"the Hub failed ({status}); try again later."
    if isinstance(error, GatedRepoError):  # a kind of RepositoryNotFoundError
        return "access is restricted; ask for it on the Hub, then pass token=."
    if isinstance(error, RevisionNotFoundError):
        return "the Hub has no such revision of this repository."
    if isinstance(error, RepositoryNotFoundError):
        return "the Hub has no such repository, or it is private; check the name, or pass token=."
    if status == 403:
        return "the Hub refuses access (403); check that the token may read this repository, or pass another by token=."
    if isinstance(error, LocalEntryNotFoundError):
        return (
            "not in the local cache, and the Hub cannot be reached; go online once, or give a folder, or the name of a "
            "bundled checkpoint."
        )
    return f"the download failed ({_first_line(error)})."


def _status(error: BaseException | None) -> int:
    """Return the HTTP status behind an error, which the client wraps into others; 0 where there was no answer."""
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return int(response.status_code)
        error = error.__cause__ or error.__context__
    return 0


def _bounded_bar(source: str) -> Any:
    """A progress bar for snapshot_download that ends a body without end; the client itself would fill the disk.

    Old versions of the client count files by it, not bytes, and have no place where a body could be bounded.
    """
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class BoundedBar(tqdm):
        received = 0

        def update(self, n: float | None = 1) -> Any:
            self.received += int(n or 0)
            most = min(MOST_BYTES, self.total + SPARE_BYTES) if self.total else MOST_BYTES
            if self.received > most:
                raise CheckpointError(f"{source}: the server sends more than {most} bytes, which no file of it has.")
            return super().update(n)

    return BoundedBar


def upload(
    folder: Path,
    repo_id: str,
    *,
    private: bool,
    token: str | None,
    revision: str | None,
    commit_message: str,
    patterns: Sequence[str],
) -> str:
    """Push a folder's files of these patterns, making the repository if need be; returns its address.

    Raises:
        CheckpointError: the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token, **LIBRARY)
    try:
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            revision=revision,
            commit_message=commit_message,
            allow_patterns=list(patterns),
        )
    except Exception as error:
        raise CheckpointError(f"{repo_id}: the Hub did not take the checkpoint ({_first_line(error)}).") from error
    return str(url)


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.rstrip(".")[:300]
