"""A safetensors file -> tensors, once its header has been found right: nothing is allocated on a file's word alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, isfinite

from aasp_features import contents
from aasp_features.errors import CheckpointError
from aasp_features.strict_json import read_json

BYTES = {"F16": 2, "BF16": 2, "F32": 4}  # of the types that weights are stored in
MOST_HEADER = 2**20  # bytes; twelve blocks need 15,000
MOST_DIMENSIONS = 8


class _Entry(NamedTuple):
    begin: int
    end: int
    shape: tuple[int, ...]


def read_shapes(path: Path, source: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a file, by its header alone, which is checked against the file's size.

    Args:
        path: of the file.
        source: what messages call the checkpoint.

    Raises:
        CheckpointError: not safetensors, cut off, types other than float16, bfloat16 and float32, tensors that overlap.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MOST_HEADER):
            raise damaged(path, source, f"a header of {length} bytes in a file of {size}")
        try:
            header = read_json(file.read(length), MOST_HEADER)
        except ValueError as error:
            raise damaged(path, source, f"its header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise damaged(path, source, "its header is no JSON object")
    header.pop("__metadata__", None)
    end = 0
    entries = {name: _entry(name, value, path, source) for name, value in header.items()}
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != end:
            raise damaged(path, source, f"tensor {name[:60]!r} does not begin where the one before ends")
        end = entry.end
    if end != size - 8 - length:
        raise damaged(path, source, f"{size - 8 - length} bytes of tensors, where its header says {end}")
    return {name: entry.shape for name, entry in entries.items()}


def _entry(name: str, value: Any, path: Path, source: str) -> _Entry:
    """One tensor of a header; its bytes are as many as its shape says."""
    called = f"tensor {name[:60]!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise damaged(path, source, f"its header does not describe {called}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not _sizes(shape) or len(shape) > MOST_DIMENSIONS or not _sizes(offsets) or len(offsets) != 2:
        raise damaged(path, source, f"its header gives {called} no shape or no place")
    if not isinstance(dtype, str) or dtype not in BYTES:
        given = str(dtype)[:20]
        raise CheckpointError(f"{source}: {path.name} holds {called} as {given!r}; F16, BF16 and F32 are read.")
    begin, end = offsets
    if end - begin != BYTES[dtype] * math.prod(shape):
        raise damaged(path, source, f"{called} has not the bytes that its shape needs")
    return _Entry(begin, end, tuple(shape))


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 2**63 for size in value)


def read_weights(path: Path, source: str) -> dict[str, Tensor]:
    """The tensors of a file whose header was found right: float32, on the CPU, all of them finite.

    Raises:
        CheckpointError: NaN or infinite numbers, or damaged after all.
        OSError: it cannot be read.
    """
    try:
        weights = {key: value.float() for key, value in load_file(path).items()}
    except SafetensorError as error:
        raise damaged(path, source, str(error)) from error
    if broken := not_finite(weights):
        raise CheckpointError(f"{source}: {path.name} holds NaN or infinite numbers in {broken}.")
    return weights


def damaged(path: Path, source: str, what: str) -> CheckpointError:
    """The error of a file that is not what its writer wrote."""
    return CheckpointError(f"{source}: {path.name} is damaged ({what}); download it again.")


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor that holds NaN or infinite numbers."""
    return next((key for key, value in weights.items() if not isfinite(value).all()), None)


def sha256(path: Path) -> str:
    """Of a file of any size, in hexadecimal digits."""
    with path.open("rb") as file:
        return contents.sha256(file)
