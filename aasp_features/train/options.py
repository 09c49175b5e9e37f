"""Options and the log that several training commands share: the device, times in minutes, and output folders."""

from __future__ import annotations

import logging
import math
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aasp_features.errors import OptionError
from aasp_features.options import check_device

if TYPE_CHECKING:
    import torch

DEVICE_HELP = "cpu, cuda or cuda:1 (default: the CUDA GPU if there is one, else cpu)."
Device = Annotated[str | None, typer.Option(help=DEVICE_HELP)]


def show_log() -> None:
    """Print log messages with their times on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


def seconds_of(option: str, minutes: float | None, *, above_zero: bool = False) -> float | None:
    """Convert minutes to seconds; None stays None.

    Raises:
        OptionError: The number is negative or not finite, or 0 where ``above_zero`` forbids it.
    """
    if minutes is not None and not 0 <= minutes < math.inf:
        raise OptionError(f"{option} must be at least 0 minutes, got {minutes}.")
    if minutes == 0 and above_zero:
        raise OptionError(f"{option} must be above 0 minutes, got 0.")
    return None if minutes is None else 60 * minutes


def checked_device(name: str | None) -> torch.device:
    """Return the named device, or by default the CUDA GPU if there is one, else the CPU.

    Raises:
        OptionError: torch cannot use the device on this machine.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(name)
    return torch.device(name)


def check_folder(option: str, folder: Path | None) -> None:
    """Check that an output folder can be created and written; nothing is left behind.

    Raises:
        OptionError: It cannot be written.
    """
    if folder is None:
        return
    made: list[Path] = []
    try:
        made += [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(f"{option} {folder} cannot be written ({error.strerror}); name another folder.") from error
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()
