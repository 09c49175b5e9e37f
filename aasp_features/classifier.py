"""AaSPClassifier: sound in, names out; and its two files, which stand beside the encoder's in a checkpoint.

``classifier.json`` holds the names of the classes, in the order of the scores, and three checksums: of both files of
weights, so that a head is never read with an encoder that it was not trained on, and of what it holds itself.
``classifier.safetensors`` holds ``weight`` (classes, d) and ``bias`` (classes,).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from aasp_features import checkpoint
from aasp_features.checkpoint import CLASSIFIER_FILES, WEIGHTS_FILE
from aasp_features.config import Precision, read_json
from aasp_features.contents import sha256
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import CheckpointError, OptionError
from aasp_features.events import THRESHOLD, Event, check_threshold, find_events
from aasp_features.inference import FrameEmbeddings
from aasp_features.inputs import SingleSound
from aasp_features.options import check_choice, check_device, check_whole
from aasp_features.version import __version__
from aasp_features.windows import COLUMN_SECONDS

FRAME_POOLINGS = ("mean", "frequency")  # whose clip vector is the mean of the frame vectors
LABELS_FILE, HEAD_FILE = CLASSIFIER_FILES
FORMAT = 2
MAX_VALUE = 1e6  # of a vector; the encoder normalises its tokens, so that values stay below 100
MAX_JSON = 2**24  # bytes; 527 classes need 20,000
MAX_LABEL = 200


class Prediction(NamedTuple):
    """A class, and how likely it is that a sound is of it."""

    label: str
    probability: float


class FramePredictions(NamedTuple):
    """Probabilities along time.

    Attributes:
        probabilities: (T, classes) float32.
        times: (T,) float64, seconds at the centre of each frame.
    """

    probabilities: Any
    times: Any


class AaSPClassifier(nn.Module):
    """An encoder and one linear layer on its clip vectors, with the names of the classes.

    ``aasp-train classify FOLDER`` makes one. Sounds are given as to ``AaSPEncoder.embed``.

    Args:
        encoder: whose default pooling the head reads.
        labels: names of the classes, in the order of the scores.
        head: linear, (d -> classes); a standardisation of the vectors is folded into it.
        multi_label: a clip may have several labels, or none. Probabilities are then each class's own (sigmoid), and
            not shared between the classes (softmax).

    Raises:
        OptionError: labels that are no names, or a head of another size.
    """

    def __init__(
        self, encoder: AaSPEncoder, labels: Sequence[str], head: nn.Linear, *, multi_label: bool = False
    ) -> None:
        super().__init__()
        self.labels = check_labels(labels, multi_label)
        self.multi_label = multi_label
        wanted = (len(self.labels), encoder.embedding_dim)
        if (head.out_features, head.in_features) != wanted or head.bias is None:
            raise OptionError(
                f"{wanted[0]} labels and vectors of {wanted[1]} numbers need a head of {wanted[1]} -> {wanted[0]} with "
                f"a bias, got {head.in_features} -> {head.out_features}{' without one' if head.bias is None else ''}."
            )
        self.encoder, self.head = encoder, head

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
        **hub_options: Any,
    ) -> AaSPClassifier:
        """Load a classifier; evaluation mode, no gradients, float32.

        Args:
            name: a folder, or ``org/name[@revision]`` on the Hub.
            revision, device, precision, hub_options: as of ``AaSPEncoder.from_pretrained``.

        Raises:
            CheckpointError: not found, not readable, an encoder alone, or a head that is not of this encoder.
            OptionError: a precision that is not accepted, or a device that is not there.
        """
        check_choice("precision", precision, Precision)
        check_device(device)
        found = checkpoint.load_checkpoint(name, revision=revision, **hub_options)
        encoder = AaSPEncoder.from_checkpoint(found)
        encoder.precision = precision
        with checkpoint.readable(found.source):
            values, weights = _read_files(found, encoder.embedding_dim)
        head = nn.Linear(encoder.embedding_dim, len(values["labels"]), device="meta").to_empty(device="cpu")
        head.load_state_dict(weights)
        classifier = cls(encoder, values["labels"], head, multi_label=values["several"]).requires_grad_(False).eval()
        return classifier.to(device) if device is not None else classifier

    def save_pretrained(self, folder: str | Path, *, card: str | None = None) -> Path:
        """Write the encoder's checkpoint, which ``AaSPEncoder.from_pretrained`` reads, and the head beside it.

        Files: config.json, model.safetensors, README.md, classifier.json, classifier.safetensors.

        Raises:
            CheckpointError: the folder cannot be written, or weights are NaN, infinite or too large.
        """
        head = {name: value.detach().cpu().float().contiguous() for name, value in self.head.state_dict().items()}
        _check_scores(head, str(folder))
        name = self.encoder.config.name
        card = card or f"# A classifier on {name}\n\nIts {len(self.labels)} classes: {', '.join(self.labels)}.\n"
        saved = self.encoder.save_pretrained(folder, card=card)
        content = save(head, metadata={"format": "pt"})
        values = {
            "model_type": "aasp-classifier",
            "package_version": __version__,
            "format": FORMAT,
            "several": self.multi_label,
            "labels": list(self.labels),
            "encoder_sha256": sha256(saved / WEIGHTS_FILE),
            "head_sha256": hashlib.sha256(content).hexdigest(),
        }
        text = json.dumps({**values, "sha256": _checksum(values)}, indent=2, ensure_ascii=False) + "\n"
        # The names go last: a folder that a crash leaves between the files is refused when it is read.
        checkpoint.write_files(saved, {HEAD_FILE: content, LABELS_FILE: text.encode()})
        return saved

    def push_to_hub(self, repo_id: str, *, card: str | None = None, **hub_options: Any) -> str:
        """Save and upload to ``repo_id`` on the Hub; return its address. Options as of ``AaSPEncoder.push_to_hub``.

        Raises:
            CheckpointError: the Hub refuses or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            saved = self.save_pretrained(Path(folder) / "checkpoint", card=card)
            return checkpoint.push_checkpoint(saved, repo_id, **hub_options)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits (batch, classes) of waveforms that fit one window; see ``AaSPEncoder.forward``."""
        return self.head(self.encoder(waveform, lengths))  # type: ignore[no-any-return]

    def scores(self, sounds: Any, sample_rate: int | None = None, **choices: Any) -> Any:
        """Return probabilities of the classes: (classes,) for a single sound, (B, classes) for several.

        numpy in, numpy out; tensor in, tensor out on its device; float32.

        Args:
            sounds: any of the forms that ``AaSPEncoder.embed`` takes.
            sample_rate: of raw arrays; None means 16 kHz.
            choices: batch_size, window, context, channel_axis, as of ``AaSPEncoder.embed``, which also says what is
                raised.
        """
        vectors = self.encoder.embed(sounds, sample_rate, pooling=None, last_layers=None, **choices)
        return _like(vectors, self.classify_vectors(vectors))

    @overload
    def predict(self, sounds: SingleSound, sample_rate: int | None = None, **choices: Any) -> list[Prediction]: ...
    @overload
    def predict(self, sounds: list[Any], sample_rate: int | None = None, **choices: Any) -> list[list[Prediction]]: ...
    @overload
    def predict(self, sounds: NDArray[Any] | Tensor, sample_rate: int | None = None, **choices: Any) -> Any: ...
    def predict(self, sounds: Any, sample_rate: int | None = None, *, top: int = 5, **choices: Any) -> Any:
        """Return at most ``top`` ``Prediction``s for a single sound, the likeliest first; a list of such for several.

        Other arguments and errors are those of ``scores``.
        """
        check_whole("top", top)
        if top < 1:
            raise OptionError(f"top must be at least 1, got {top}.")
        scores = np.asarray(torch.as_tensor(self.scores(sounds, sample_rate, **choices)).cpu())
        return self.ranked(scores, top) if scores.ndim == 1 else [self.ranked(row, top) for row in scores]

    def predict_frames(
        self, sounds: Any, sample_rate: int | None = None, *, hop: float = COLUMN_SECONDS, **choices: Any
    ) -> Any:
        """Return probabilities along time: ``FramePredictions`` for a single sound, a list of them for several.

        The head reads each frame's vector in place of the clip's, which is their mean.

        Args:
            sounds, sample_rate, choices: as of ``scores``.
            hop: seconds, as of ``AaSPEncoder.embed_frames``.

        Raises:
            OptionError: a pooling whose clip vector is not the mean of frame vectors; see also ``scores``.
        """
        self.check_frames()
        framed = self.encoder.embed_frames(sounds, sample_rate, hop=hop, pooling=None, last_layers=None, **choices)
        return [self._along(one) for one in framed] if isinstance(framed, list) else self._along(framed)

    @overload
    def events(self, sounds: SingleSound, sample_rate: int | None = None, **choices: Any) -> list[Event]: ...
    @overload
    def events(self, sounds: list[Any], sample_rate: int | None = None, **choices: Any) -> list[list[Event]]: ...
    @overload
    def events(self, sounds: NDArray[Any] | Tensor, sample_rate: int | None = None, **choices: Any) -> Any: ...
    def events(
        self,
        sounds: Any,
        sample_rate: int | None = None,
        *,
        threshold: float = THRESHOLD,
        hop: float = COLUMN_SECONDS,
        **choices: Any,
    ) -> Any:
        """Return the ``Event``s of a single sound, stretches in which a class is likely; a list of such for several.

        Args:
            threshold: the probability from which on a class counts as heard.
            sounds, sample_rate, hop, choices: as of ``predict_frames``, which also says what is raised.
        """
        check_threshold(threshold)
        framed = self.predict_frames(sounds, sample_rate, hop=hop, **choices)
        found = []
        for one in framed if isinstance(framed, list) else [framed]:
            probabilities, times = (np.asarray(torch.as_tensor(part).cpu()) for part in one)
            found.append(find_events(probabilities, times, self.labels, threshold, hop))
        return found if isinstance(framed, list) else found[0]

    def classify_vectors(self, vectors: Any) -> NDArray[np.float32]:
        """Return (…, classes) probabilities for (…, d) vectors of the encoder, array or tensor, computed in float64.

        Raises:
            OptionError: vectors of another length.
        """
        given = torch.as_tensor(vectors).detach().cpu().double()
        if given.ndim == 0 or given.shape[-1] != self.head.in_features:
            shape = tuple(given.shape)
            raise OptionError(f"this classifier reads vectors of {self.head.in_features} numbers, got shape {shape}.")
        weight, bias = (part.detach().cpu().double() for part in (self.head.weight, self.head.bias))
        logits = given @ weight.T + bias
        return (logits.sigmoid() if self.multi_label else logits.softmax(dim=-1)).float().numpy()

    def ranked(self, probabilities: NDArray[np.float32], top: int) -> list[Prediction]:
        """Return the ``top`` likeliest of (classes,) probabilities, the likeliest first."""
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [Prediction(self.labels[index], float(probabilities[index])) for index in order]

    def check_frames(self) -> None:
        """Raise OptionError where the head cannot read frame vectors."""
        pooling = self.encoder.config.pooling
        if pooling not in FRAME_POOLINGS:
            raise OptionError(
                f"this classifier reads the pooling {pooling}, which is not the mean of frame vectors, so it says "
                f"nothing of frames; train one with the pooling {' or '.join(FRAME_POOLINGS)}."
            )

    def _along(self, framed: FrameEmbeddings) -> FramePredictions:
        scores = self.classify_vectors(framed.embeddings)
        return FramePredictions(_like(framed.embeddings, scores), framed.times)


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


def _read_files(found: checkpoint.Checkpoint, width: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what both files of a classifier hold whose encoder makes vectors of ``width`` numbers."""
    values = _read_values(found.folder / LABELS_FILE, found.source)
    if values["encoder_sha256"] != found.sha256:
        raise CheckpointError(
            f"{found.source}: {LABELS_FILE} is of another encoder than {WEIGHTS_FILE}; save the classifier again."
        )
    classes, path = len(values["labels"]), found.folder / HEAD_FILE
    if not path.is_file():
        raise CheckpointError(f"{found.source}: no {HEAD_FILE}; a classifier has {LABELS_FILE} and {HEAD_FILE}.")
    if checkpoint.read_shapes(path, found.source) != {"weight": (classes, width), "bias": (classes,)}:
        raise CheckpointError(
            f"{found.source}: {HEAD_FILE} is no head for {classes} labels and vectors of {width} numbers; it needs "
            f"weight {(classes, width)} and bias {(classes,)}."
        )
    if sha256(path) != values["head_sha256"]:
        raise CheckpointError(f"{found.source}: {HEAD_FILE} is not the one that {LABELS_FILE} names; save it again.")
    weights = checkpoint.read_weights(path, found.source)
    _check_scores(weights, f"{found.source}: {HEAD_FILE}")
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
    kinds = {"several": bool, "labels": list, "encoder_sha256": str, "head_sha256": str}
    if wrong := [name for name, kind in kinds.items() if not isinstance(values.get(name), kind)]:
        raise CheckpointError(f"{where} has no {wrong[0]!r} that can be read; save the classifier again.")
    try:
        return {**values, "labels": check_labels(values["labels"], values["several"])}
    except OptionError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _check_scores(head: Mapping[str, Tensor], where: str) -> None:
    """Check that no vector of an encoder makes a score that float32 does not hold."""
    if not torch.isfinite(head["weight"].abs().sum(dim=1) * MAX_VALUE + head["bias"].abs()).all():
        raise CheckpointError(
            f"{where}: the classifier's weights are NaN, or so large that its scores would be infinite."
        )


def _like(given: Any, array: NDArray[np.float32]) -> Any:
    return torch.from_numpy(array).to(given.device) if isinstance(given, Tensor) else array
