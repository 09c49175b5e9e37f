"""The options of a call: checked, and filled in from the config and the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, cast, get_args

from aasp_features.config import AaSPConfig, Pooling, Precision
from aasp_features.errors import OptionError
from aasp_features.windows import COLUMN_SECONDS

WINDOWS_ON_A_CPU = 8  # measured: with more, activations no longer fit in the caches
WINDOWS_ON_A_GPU = 256
GPU_SHARE = 1 / 8  # of the GPU's memory, for one batch
LIVE_VALUES = 16  # floats held for each value of a token: state, queries, keys, values, hidden layer, last blocks
RATE_NAMES = {"sr", "sampling_rate", "rate", "fs", "samplerate", "orig_sr", "orig_freq"}


@dataclass(frozen=True)
class EmbedOptions:
    """All options that decide vectors, filled in by ``resolve_options``.

    Attributes:
        pooling: pooling of tokens into vectors.
        last_layers: number of last blocks whose outputs are averaged.
        batch_size: full windows in a batch; shorter windows make larger batches.
        window: columns of one window of long audio.
        context: columns of overlap on each side of a window.
        precision: of the matrix products.
    """

    pooling: Pooling
    last_layers: int
    batch_size: int
    window: int
    context: int
    precision: Precision = "float32"


def resolve_options(
    config: AaSPConfig,
    device: str = "cpu",
    *,
    pooling: str | None = None,
    last_layers: int | None = None,
    batch_size: int | None = None,
    window: int | None = None,
    context: int | None = None,
    precision: str = "float32",
    **unknown: Any,
) -> EmbedOptions:
    """Check options and fill in those that are None.

    Args:
        config: config of the encoder, which has the defaults.
        device: kind of device (``cpu``, ``cuda`` or another), which decides the default batch size.
        pooling, last_layers, batch_size, window, context, precision: see ``EmbedOptions``.

    Raises:
        OptionError: an option is not accepted.
        TypeError: there is no such option.
    """
    check_known(unknown)
    if pooling is not None:
        check_choice("pooling", pooling, Pooling)
    check_choice("precision", precision, Precision)
    check_last_layers(last_layers, config.depth)
    check_count("batch_size", batch_size)
    check_whole("window", window)
    check_whole("context", context)
    window = config.window if window is None else window
    context = config.context if context is None else context
    check_windows(window, context, config.window)
    return EmbedOptions(
        cast(Pooling, pooling or config.pooling),
        last_layers or config.last_layers,
        batch_size or automatic_batch_size(config, device),
        window,
        context,
        cast(Precision, precision),
    )


def check_known(unknown: Mapping[str, Any]) -> None:
    """Raise TypeError if there is an unknown option; other libraries' names of the sample rate get a hint."""
    for name in unknown:
        hint = "; the rate of raw arrays is sample_rate" if name in RATE_NAMES else ""
        raise TypeError(f"unexpected keyword argument {name!r}{hint}.")


def check_choice(name: str, value: object, kind: Any) -> None:
    """Raise OptionError unless ``value`` is one of the literals of ``kind``."""
    if value not in get_args(kind):
        raise OptionError(f"must be one of {', '.join(get_args(kind))}, got {value!r}.", option=name)


def check_whole(name: str, value: object) -> None:
    """Raise OptionError unless ``value`` is a whole number or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise OptionError(f"must be a whole number, got {value!r}.", option=name)


def check_count(name: str, value: int | None) -> None:
    """Raise OptionError unless ``value`` is a whole number of at least 1, or None."""
    check_whole(name, value)
    if value is not None and value < 1:
        raise OptionError(f"must be at least 1, got {value}.", option=name)


def check_last_layers(value: int | None, depth: int) -> None:
    """Raise OptionError unless ``value`` is None or a number of the last of ``depth`` blocks."""
    check_whole("last_layers", value)
    if value is not None and not 1 <= value <= depth:
        raise OptionError(f"must be 1 to {depth} (the last k blocks), got {value}.", option="last_layers")


def check_windows(window: int, context: int, max_window: int) -> None:
    """Raise OptionError unless windows of so many columns fit the network and leave columns between their contexts."""
    if not 1 <= window <= max_window:
        raise OptionError(
            f"must be 1 to {max_window} columns of 160 ms, as trained, got {window} "
            f"({window * COLUMN_SECONDS:.2f} of {max_window * COLUMN_SECONDS:.2f} seconds).",
            option="window",
        )
    if not 0 <= 2 * context < window:
        raise OptionError(
            f"must leave columns in the window, got {context} on each side of {window} "
            f"({context * COLUMN_SECONDS:.2f} of {window * COLUMN_SECONDS:.2f} seconds).",
            option="context",
        )


def check_device(device: Any, *, here: bool = True) -> None:
    """Raise OptionError unless torch knows the device, and can compute on it here; None is torch's default."""
    import torch

    try:
        if device is not None:
            torch.device(device)
        if here:
            torch.zeros(1, device=device).item()
    except Exception as error:  # of many kinds: not a device, not built in, not there, no driver, no memory
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        given = str(device)[:60]
        raise OptionError(
            f"must be one that torch can use here: cpu, cuda, cuda:1 or mps; got {given!r} ({reason}).", option="device"
        ) from error


def automatic_batch_size(config: AaSPConfig, device: str) -> int:
    """Return the default number of full windows in a batch.

    It depends only on the kind of machine, not on what else runs there, so a resumed run uses the same.
    """
    if device != "cuda":
        return WINDOWS_ON_A_CPU
    import torch

    memory = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    window = 4 * LIVE_VALUES * config.dim * config.rows * config.window  # bytes
    return max(WINDOWS_ON_A_CPU, min(WINDOWS_ON_A_GPU, int(GPU_SHARE * memory / window)))
