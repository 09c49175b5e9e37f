"""Options that several training commands have: a device, times in minutes, and folders of results."""

from __future__ import annotations

import math
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aasp_features.errors import OptionError
from aasp_features.options import check_device

if TYPE_CHECKING:
    import torch

DEVICE_HELP = "cpu, cuda or cuda:1 (default: the CUDA GPU if there is one, else cpu)."


def seconds_of(option: str, minutes: float | None, *, above_zero: bool = False) -> float | None:
    """Minutes as seconds; None stays None.

    Raises:
        OptionError: not a number of minutes of at least 0, or of none where that is not accepted.
    """
    if minutes is not None and not 0 <= minutes < math.inf:
        raise OptionError(f"{option} is a number of minutes of at least 0, got {minutes}.")
    if minutes == 0 and above_zero:
        raise OptionError(f"{option} is above 0 minutes, got 0.")
    return None if minutes is None else 60 * minutes


def checked_device(name: str | None) -> torch.device:
    """Return the named device, or by default the CUDA GPU if there is one, else the CPU.

    Raises:
        OptionError: torch cannot use it here.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(name)
    return torch.device(name)


def check_folder(option: str, folder: Path | None) -> None:
    """Check that a folder of results can be made and written; what is made for that is removed again.

    Raises:
        OptionError: it cannot.
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
