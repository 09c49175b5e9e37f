"""The two files of a classifier, which stand beside the encoder's in a checkpoint.

``classifier.json`` holds the names of the classes, in the order of the scores, their thresholds, the probability below
which a sound is ``other``, and three checksums: of both files of weights, so that a head is never read with an encoder
that it was not trained on, and of what it holds itself. ``classifier.safetensors`` holds ``weight`` (classes, d) and
``bias`` (classes,).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from aasp_features import checkpoint
from aasp_features.checkpoint import CLASSIFIER_FILES
from aasp_features.checkpoints import WEIGHTS_FILE
from aasp_features.config import read_json
from aasp_features.contents import sha256
from aasp_features.errors import CheckpointError, OptionError
from aasp_features.events import check_threshold
from aasp_features.version import __version__

LABELS_FILE, HEAD_FILE = CLASSIFIER_FILES
FORMAT = 4
MAX_VALUE = 1e6  # of a vector; the encoder normalises its tokens, so that values stay below 100
MAX_JSON = 2**24  # bytes; 527 classes need 20,000
MAX_LABEL = 200


def check_labels(labels: Sequence[str], multi_label: bool) -> tuple[str, ...]:
    """Return names of classes that are accepted.

    Raises:
        OptionError: fewer than two (one, where a clip may have several or none), one twice, or one that is no name.
    """
    least = 1 if multi_label else 2
    if isinstance(labels, str) or len(labels) < least:
        raise OptionError(f"labels must be {least} or more names, got {str(labels)[:60]!r}.")
    for label in labels:
        if not isinstance(label, str) or not (0 < len(label) <= MAX_LABEL and label.isprintable()):
            raise OptionError(f"a label is a name of 1 to {MAX_LABEL} printable characters, got {str(label)[:60]!r}.")
    if len(set(labels)) < len(labels):
        twice = next(label for index, label in enumerate(labels) if label in labels[:index])
        raise OptionError(f"labels must differ, got {twice!r} twice.")
    return tuple(labels)


def check_thresholds(thresholds: Sequence[float], classes: int) -> tuple[float, ...]:
    """Return thresholds that are accepted, one for each class; raise OptionError otherwise."""
    if len(thresholds) != classes:
        raise OptionError(f"{classes} labels need {classes} thresholds, got {len(thresholds)}.")
    for threshold in thresholds:
        check_threshold(threshold)
    return tuple(thresholds)


def write_files(saved: Path, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write both files beside the encoder's.

    Args:
        saved: folder of the encoder's checkpoint.
        values: multi_label, labels, thresholds and min_probability.
        tensors: as ``classifier.safetensors`` names them; checked by ``check_scores``.
    """
    content = save(dict(tensors), metadata={"format": "pt"})
    described = {
        "model_type": "aasp-classifier",
        "package_version": __version__,
        "format": FORMAT,
        **values,
        "encoder_sha256": sha256(saved / WEIGHTS_FILE),
        "head_sha256": hashlib.sha256(content).hexdigest(),
    }
    text = json.dumps({**described, "sha256": _checksum(described)}, indent=2, ensure_ascii=False) + "\n"
    # The names go last: a folder that a crash leaves between the files is refused when it is read.
    checkpoint.write_files(saved, {HEAD_FILE: content, LABELS_FILE: text.encode()})


def read_files(found: checkpoint.Checkpoint, width: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what both files of a classifier hold whose encoder makes vectors of ``width`` numbers."""
    values = _read_values(found.folder / LABELS_FILE, found.source)
    if values["encoder_sha256"] != found.sha256:
        raise CheckpointError(
            f"{found.source}: {LABELS_FILE} is of another encoder than {WEIGHTS_FILE}; save the classifier again."
        )
    classes, path = len(values["labels"]), found.folder / HEAD_FILE
    if not path.is_file():
        raise CheckpointError(f"{found.source}: no {HEAD_FILE}; a classifier has {LABELS_FILE} and {HEAD_FILE}.")
    shapes = {"weight": (classes, width), "bias": (classes,)}
    if checkpoint.read_shapes(path, found.source) != shapes:
        raise CheckpointError(
            f"{found.source}: {HEAD_FILE} is no head for {classes} labels and vectors of {width} numbers; it needs "
            f"{' and '.join(f'{name} {shape}' for name, shape in shapes.items())}."
        )
    if sha256(path) != values["head_sha256"]:
        raise CheckpointError(f"{found.source}: {HEAD_FILE} is not the one that {LABELS_FILE} names; save it again.")
    weights = checkpoint.read_weights(path, found.source)
    check_scores(weights, f"{found.source}: {HEAD_FILE}")
    return values, weights


def _read_values(path: Path, source: str) -> dict[str, Any]:
    """Return what ``classifier.json`` says: every key is there, and right."""
    where = f"{source}: {path.name}"
    if not path.is_file():
        raise CheckpointError(
            f"{source}: no {path.name}, so it is an encoder alone; aasp-train classify makes a classifier."
        )
    with path.open("rb") as file:
        text = file.read(MAX_JSON + 1)
    try:
        values = read_json(text, MAX_JSON)
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON ({error}).") from error
    if not isinstance(values, dict) or (values.get("model_type"), values.get("format")) != ("aasp-classifier", FORMAT):
        raise CheckpointError(
            f"{where} is not of a classifier of format {FORMAT}; update the package, or make the classifier again by "
            "aasp-train classify."
        )
    if values.pop("sha256", None) != _checksum(values):
        raise CheckpointError(f"{where} was changed after it was saved; save the classifier again.")
    kinds: dict[str, Any] = {"multi_label": bool, "labels": list, "encoder_sha256": str, "head_sha256": str}
    kinds |= {"thresholds": list, "min_probability": (float, type(None))}
    if wrong := [name for name, kind in kinds.items() if not isinstance(values.get(name), kind)]:
        raise CheckpointError(f"{where} has no {wrong[0]!r} that can be read; save the classifier again.")
    try:
        if values["min_probability"] is not None:
            check_threshold(values["min_probability"], "min_probability")
        labels = check_labels(values["labels"], values["multi_label"])
        return {**values, "labels": labels, "thresholds": check_thresholds(values["thresholds"], len(labels))}
    except OptionError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_scores(head: Mapping[str, Tensor], where: str) -> None:
    """Check that no vector of an encoder makes a score that float32 does not hold."""
    scores = head["weight"].abs().sum(dim=1) * MAX_VALUE + head["bias"].abs()
    if not all(torch.isfinite(part).all() for part in (scores, *head.values())):
        raise CheckpointError(
            f"{where}: the classifier's weights are NaN, or so large that its scores would be infinite."
        )
