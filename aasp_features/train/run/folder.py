"""A run's folder: its files, its metrics line by line, and its lock.

RUN/state.safetensors   see ``state.py``
RUN/metrics.jsonl       a line of metrics for every ``log_every`` steps
RUN/run.lock            held by the training process, the first of several
RUN/kept/00001000/      the state of this step, as a run folder; see ``keep_state``
RUN/kept/best/          the state with the best figure of the online probe; see ``keep_best``
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from aasp_features.folder.lock import FileLock, LockedError, NoLocksError
from aasp_features.train.errors import TrainError
from aasp_features.train.run.json_lines import append_json_line, read_json_lines, write_json_lines
from aasp_features.train.whole_file import whole_file

logger = logging.getLogger(__name__)
STATE_FILE, METRICS_FILE, LOCK_FILE, KEPT = "state.safetensors", "metrics.jsonl", "run.lock", "kept"
BEST = "probe_linear_average"  # the figure of the online probe that decides which state is best


def lock_run(folder: Path) -> FileLock:
    """Create the folder, lock it against other processes, and remove temporary files of a killed one.

    Raises:
        TrainError: Another process trains there, the folder cannot be created, or its file system has no locks.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except NoLocksError as error:
        raise TrainError(f"the file system of {folder} has no locks; give a folder on another file system.") from error
    except LockedError as error:
        raise TrainError(f"another process trains in {folder}; wait for it, or give another folder.") from error
    except OSError as error:
        raise TrainError(f"{folder} cannot be used as a run folder ({error.strerror}); give another folder.") from error
    for leftover in folder.glob(f".{STATE_FILE}.*"):
        leftover.unlink()
    return lock


def keep_state(folder: Path, step: int, count: int) -> None:
    """Keep the saved state as that of a step, and delete all kept ones but the last ``count``.

    A kept state takes no space of its own until the next one is saved, where the file system has hard links.

    Raises:
        TrainError: It cannot be written.
    """
    if not count:
        return
    own = folder / KEPT / f"{step:08}"
    _link_state(folder, own)
    kept = sorted(path for path in (folder / KEPT).iterdir() if path.name <= own.name)  # not of a run that went farther
    for old in kept[:-count]:
        shutil.rmtree(old)


def keep_best(folder: Path, step: int) -> None:
    """Keep the saved state, that of a step, as the best one if no other step's figure is better; of equals, the first.

    Raises:
        TrainError: It cannot be written.
    """
    lines = read_json_lines(folder / METRICS_FILE, ["step"])
    found = [(line[BEST], -line["step"]) for line in lines if BEST in line]
    if found and max(found)[1] == -step:
        _link_state(folder, folder / KEPT / "best")


def _link_state(folder: Path, own: Path) -> None:
    with whole_file(own / STATE_FILE) as temporary:
        own.mkdir(parents=True, exist_ok=True)
        try:
            os.link(folder / STATE_FILE, temporary)
        except OSError:
            shutil.copyfile(folder / STATE_FILE, temporary)


def write_metrics(folder: Path, numbers: dict[str, float]) -> None:
    """Append a line of metrics.

    Raises:
        OSError: It cannot be written.
    """
    append_json_line(folder / METRICS_FILE, {name: round(value, 6) for name, value in numbers.items()})


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return a run's metrics line by line, without a truncated last line.

    Raises:
        TrainError: There are no metrics, or a line is damaged.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        raise TrainError(f"{folder} holds no {METRICS_FILE}; give a run folder.")
    return read_json_lines(path, ["step"])


def cut_metrics(folder: Path, step: int) -> None:
    """Remove the lines after the saved step, as those steps are repeated.

    Raises:
        TrainError: A line is damaged.
    """
    lines = read_json_lines(folder / METRICS_FILE, ["step"])
    kept = [line for line in lines if line["step"] <= step]
    if again := len(lines) - len(kept):
        logger.info("%s: removed %d lines after step %d, which is repeated from there", METRICS_FILE, again, step)
    write_json_lines(folder / METRICS_FILE, kept)
