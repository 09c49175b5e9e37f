"""How vectors are made: the choices of a call, checked and filled in once, as one value that travels."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, cast, get_args

from aasp_features.config import AaSPConfig, Pooling, Precision
from aasp_features.errors import OptionError

WINDOWS_ON_A_CPU = 8  # measured: with more, what passes between layers leaves the caches
WINDOWS_ON_A_GPU = 256
GPU_SHARE = 1 / 8  # of its memory, for what a batch needs
LIVE_VALUES = 16  # numbers held for each value of a token: state, queries, keys, values, hidden layer, last blocks


@dataclass(frozen=True)
class EmbedOptions:
    """Everything but sound and weights that decides vectors; ``resolve_options`` makes it.

    Attributes:
        pooling: how tokens become vectors.
        last_layers: blocks at the end whose outputs are averaged.
        batch_size: full windows that go through the network together, and more of shorter ones.
        window, context: columns of one window of long audio, and of its overlap on each side.
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
) -> EmbedOptions:
    """Choices with what was left open filled in: by the config, and the batch size by the kind of device.

    Args:
        config: of the encoder.
        device: kind of device: ``cpu``, ``cuda`` or another.
        pooling, last_layers, batch_size, window, context: see ``EmbedOptions``; None leaves it open.
        precision: see there, too.

    Raises:
        OptionError: a choice that is not accepted; the sentence says what is.
    """
    if pooling is not None:
        check_choice("pooling", pooling, Pooling)
    check_choice("precision", precision, Precision)
    counts = {"batch_size": batch_size, "window": window, "context": context}
    for name, value in counts.items():
        check_whole(name, value)
    check_last_layers(last_layers, config.depth)
    if batch_size is not None and batch_size < 1:
        raise OptionError(f"batch_size must be at least 1, got {batch_size!r}.")
    if window is not None and not 1 <= window <= config.window:
        raise OptionError(f"window must be 1 to {config.window} columns of 160 ms, as trained, got {window}.")
    window, context = config.window if window is None else window, config.context if context is None else context
    if not 0 <= 2 * context < window:
        raise OptionError(f"context must leave columns in the window, got {context} on each side of {window}.")
    return EmbedOptions(
        cast(Pooling, pooling or config.pooling),
        last_layers or config.last_layers,
        batch_size or automatic_batch_size(config, device),
        window,
        context,
        cast(Precision, precision),
    )


def check_choice(name: str, value: object, kind: Any) -> None:
    """Is ``value`` one of the literals of ``kind``?

    Raises:
        OptionError: it is not; the sentence lists them.
    """
    if value not in get_args(kind):
        raise OptionError(f"{name} must be one of {', '.join(get_args(kind))}, got {value!r}.")


def check_last_layers(value: int | None, depth: int) -> None:
    """Raise OptionError for anything but None and as many of the last blocks as there are."""
    check_whole("last_layers", value)
    if value is not None and not 1 <= value <= depth:
        raise OptionError(f"last_layers must be 1 to {depth} (the last k blocks), got {value!r}.")


def check_device(device: Any) -> None:
    """Raise OptionError for what torch cannot compute on here; None is left open."""
    import torch

    try:
        torch.empty(1, device=device)
    except Exception as error:  # of many kinds: not a device, not built in, not there, no driver, no memory
        raise OptionError(
            f"device {str(device)[:60]!r} is none that this torch can use; give 'cpu', or 'cuda', 'cuda:1', 'mps' "
            "where there is one."
        ) from error


def check_whole(name: str, value: object) -> None:
    """Raise OptionError for anything but a whole number or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise OptionError(f"{name} must be a whole number, got {value!r}.")


def automatic_batch_size(config: AaSPConfig, device: str) -> int:
    """Full windows encoded together where the user does not say.

    It depends on the kind of machine only, not on what else runs there, so a run that goes on takes the same.
    """
    if device != "cuda":
        return WINDOWS_ON_A_CPU
    import torch

    memory = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    window = 4 * LIVE_VALUES * config.dim * config.rows * config.window  # bytes
    return max(WINDOWS_ON_A_CPU, min(WINDOWS_ON_A_GPU, int(GPU_SHARE * memory / window)))
