"""What makes a checkpoint a classifier, on disk: ``classifier.json`` and ``classifier.safetensors`` beside its encoder.

The first holds the names of the classes, in the order of the scores, and three checksums: of both files of weights, so
that a head is never read with an encoder that it was not trained on, and of what it holds itself. The second holds
``weight`` (classes, d) and ``bias`` (classes,). Reading is strict: shapes before anything is allocated, finite numbers,
no key too many.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, isfinite

from aasp_features.errors import CheckpointError, OptionError
from aasp_features.strict_json import read_json
from aasp_features.version import __version__
from aasp_features.weights_file import not_finite, read_shapes, read_weights, sha256

LABELS_FILE, HEAD_FILE, ENCODER_FILE = "classifier.json", "classifier.safetensors", "model.safetensors"
FORMAT = 2
LARGEST_VALUE = 1e6  # of a vector; the encoder normalises its tokens, so that values stay below 100
MOST_JSON = 2**24  # bytes; 527 classes need 20,000
LONGEST_LABEL = 200
KEYS = ("model_type", "package_version", "format", "several", "labels", "encoder_sha256", "head_sha256", "sha256")


class StoredClassifier(NamedTuple):
    """What stands beside the encoder.

    Attributes:
        labels: names of the classes, in the order of the scores.
        several: may a clip have several?
        weight, bias: (classes, d) and (classes,), float32, on the CPU.
    """

    labels: tuple[str, ...]
    several: bool
    weight: Tensor
    bias: Tensor


def check_labels(labels: Sequence[str], several: bool) -> tuple[str, ...]:
    """Names of classes, as they are accepted.

    Raises:
        OptionError: fewer than two (one, where a clip may have several or none), one twice, or one that is no name.
    """
    least = 1 if several else 2
    if isinstance(labels, str) or len(labels) < least:
        raise OptionError(f"labels must be {least} or more names, got {str(labels)[:60]!r}.")
    for label in labels:
        if not isinstance(label, str) or not (0 < len(label) <= LONGEST_LABEL and label.isprintable()):
            raise OptionError(
                f"a label is a name of 1 to {LONGEST_LABEL} printable characters, got {str(label)[:60]!r}."
            )
    if len(set(labels)) < len(labels):
        twice = next(label for place, label in enumerate(labels) if label in labels[:place])
        raise OptionError(f"labels must differ, got {twice!r} twice.")
    return tuple(labels)


def save_classifier(folder: Path, stored: StoredClassifier) -> None:
    """Write both files into a folder that holds the encoder's checkpoint already.

    The names go last: a folder that a crash leaves between the files is refused when it is read.

    Raises:
        CheckpointError: the folder cannot be written, or the head holds NaN, infinite or too large numbers.
    """
    tensors = {
        "weight": stored.weight.detach().cpu().float().contiguous(),
        "bias": stored.bias.detach().cpu().float().contiguous(),
    }
    if broken := not_finite(tensors):
        raise CheckpointError(f"{folder}: the classifier's {broken} holds NaN or infinite numbers.")
    _check_scores(tensors["weight"], tensors["bias"], str(folder))
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
            head, names = Path(temporary) / HEAD_FILE, Path(temporary) / LABELS_FILE
            head.write_bytes(save(tensors, metadata={"format": "pt"}))
            values = {
                "model_type": "aasp-classifier",
                "package_version": __version__,
                "format": FORMAT,
                "several": stored.several,
                "labels": list(stored.labels),
                "encoder_sha256": sha256(folder / ENCODER_FILE),
                "head_sha256": sha256(head),
            }
            values["sha256"] = _checksum(values)
            names.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(head, folder / HEAD_FILE)
            os.replace(names, folder / LABELS_FILE)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: the classifier could not be written ({error}).") from error


def read_classifier(folder: Path, source: str, width: int, encoder_sha256: str) -> StoredClassifier:
    """Read both files.

    Args:
        folder: that holds them.
        source: what messages call the checkpoint.
        width: numbers in a clip vector of its encoder.
        encoder_sha256: of its encoder's weights.

    Raises:
        CheckpointError: a file that is missing, damaged, or not of this encoder.
    """
    try:
        values = _read_values(folder / LABELS_FILE, source)
        if values["encoder_sha256"] != encoder_sha256:
            raise CheckpointError(
                f"{source}: {LABELS_FILE} is of another encoder than {ENCODER_FILE}; save the classifier again."
            )
        labels, head = values["labels"], folder / HEAD_FILE
        if not head.is_file():
            raise CheckpointError(f"{source}: no {HEAD_FILE}; a classifier has {LABELS_FILE} and {HEAD_FILE}.")
        wanted = {"weight": (len(labels), width), "bias": (len(labels),)}
        if (shapes := read_shapes(head, source)) != wanted:
            raise CheckpointError(
                f"{source}: {HEAD_FILE} holds {_in_words(shapes)}, where {len(labels)} labels and vectors of {width} "
                f"numbers need {_in_words(wanted)}."
            )
        if sha256(head) != values["head_sha256"]:
            raise CheckpointError(f"{source}: {HEAD_FILE} is not the one that {LABELS_FILE} names; save it again.")
        weights = read_weights(head, source)
        _check_scores(weights["weight"], weights["bias"], f"{source}: {HEAD_FILE}")
    except OSError as error:
        name = Path(str(error.filename or LABELS_FILE)).name
        raise CheckpointError(f"{source}: {name} cannot be read ({error.strerror or error}).") from error
    return StoredClassifier(labels, values["several"], weights["weight"], weights["bias"])


def _read_values(path: Path, source: str) -> dict[str, Any]:
    """What ``classifier.json`` says, every key there and right."""
    if not path.is_file():
        raise CheckpointError(
            f"{source}: no {LABELS_FILE}, so it is an encoder alone; aasp-train classify makes a classifier."
        )
    with path.open("rb") as file:
        text = file.read(MOST_JSON + 1)
    try:
        values = read_json(text, MOST_JSON)
    except ValueError as error:
        raise CheckpointError(f"{source}: {path.name} is not valid JSON ({error}).") from error
    if not isinstance(values, dict) or values.get("model_type") != "aasp-classifier":
        raise CheckpointError(f'{source}: {path.name} is not of a classifier (no "model_type": "aasp-classifier").')
    if type(values.get("format")) is not int or values["format"] != FORMAT:
        raise CheckpointError(
            f"{source}: {path.name} has format {str(values.get('format'))[:20]!r}, and {FORMAT} is read; update "
            "the package, or make the classifier again by aasp-train classify."
        )
    if set(values) != set(KEYS):
        unknown, missing = sorted(set(values) - set(KEYS)), sorted(set(KEYS) - set(values))
        wrong = f"unknown key {unknown[0][:40]!r}" if unknown else f"no key {missing[0]!r}"
        raise CheckpointError(f"{source}: {path.name} has {wrong}.")
    if not isinstance(values["several"], bool) or not isinstance(values["labels"], list):
        raise CheckpointError(f"{source}: {path.name}: several is true or false, and labels a list of names.")
    if values["sha256"] != _checksum(values):
        raise CheckpointError(
            f"{source}: {path.name} was changed after it was saved; save the classifier again, with the labels it has."
        )
    try:
        return {**values, "labels": check_labels(values["labels"], values["several"])}
    except OptionError as error:
        raise CheckpointError(f"{source}: {path.name}: {error}") from error


def _checksum(values: dict[str, Any]) -> str:
    """sha256 of what ``classifier.json`` says besides it."""
    rest = {name: value for name, value in values.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_scores(weight: Tensor, bias: Tensor, where: str) -> None:
    """Check that no vector of an encoder makes a score that float32 does not hold."""
    if not isfinite(weight.abs().sum(dim=1) * LARGEST_VALUE + bias.abs()).all():
        raise CheckpointError(f"{where}: the classifier's weights are so large that its scores would be infinite.")


def _in_words(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name[:60]} {shape}" for name, shape in sorted(shapes.items())[:4]) or "nothing"
