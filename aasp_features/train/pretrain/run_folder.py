"""A run's folder: what lies there, its metrics line by line, and one writer at a time.

RUN/state.safetensors   see ``run_state.py``
RUN/metrics.jsonl       a line of numbers for every ``log_every`` steps
RUN/run.lock            held by the process that trains
"""

from __future__ import annotations

import logging
from pathlib import Path

from aasp_features.folder.lock import FileLock, LockedError, NoLocksError
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.json_lines import append_json_line, read_json_lines, write_json_lines

logger = logging.getLogger(__name__)
STATE_FILE, METRICS_FILE, LOCK_FILE = "state.safetensors", "metrics.jsonl", "run.lock"


def lock_run(folder: Path) -> FileLock:
    """Make the folder if need be, keep other processes from training in it, and clear what a killed one left half.

    Raises:
        TrainError: one trains there, the folder cannot be made, or its file system has no locks.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except NoLocksError as error:
        raise TrainError(f"the file system of {folder} has no locks; give a folder on another one.") from error
    except LockedError as error:
        raise TrainError(f"another process trains in {folder}; wait for it, or give another folder.") from error
    except OSError as error:
        raise TrainError(f"{folder} cannot become a run's folder ({error.strerror}); give another one.") from error
    for leftover in folder.glob(f".{STATE_FILE}.*"):
        leftover.unlink()
    return lock


def write_metrics(folder: Path, numbers: dict[str, float]) -> None:
    """Append a line.

    Raises:
        OSError: it cannot be written.
    """
    append_json_line(folder / METRICS_FILE, {name: round(value, 6) for name, value in numbers.items()})


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of a run, in order; a last one that a kill cut off is left out.

    Raises:
        TrainError: no metrics there, or a damaged line.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise TrainError(f"{folder} holds no {METRICS_FILE}; give the folder of a run.")
    return read_json_lines(path, ["step"])


def cut_metrics(folder: Path, step: int) -> None:
    """Drop the lines of steps after this one: they come again, as the state that was saved knows nothing of them.

    Raises:
        TrainError: a damaged line.
    """
    lines = read_json_lines(folder / METRICS_FILE, ["step"])
    kept = [line for line in lines if line["step"] <= step]
    if again := len(lines) - len(kept):
        logger.info("%s: %d lines after step %d are dropped; they come again", METRICS_FILE, again, step)
    write_json_lines(folder / METRICS_FILE, kept)
