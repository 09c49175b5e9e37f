"""AaSPClassifier: sound in, names out; its files are those of ``classifier_files``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aasp_features import checkpoint
from aasp_features.classifier_files import check_labels, check_scores, check_thresholds, read_files, write_files
from aasp_features.config import Precision
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.events import (
    MERGE_GAP,
    MIN_DURATION,
    SMOOTH,
    THRESHOLD,
    Event,
    EventOptions,
    check_threshold,
    find_events,
    smoothed,
)
from aasp_features.inference import FrameEmbeddings
from aasp_features.inputs import SingleSound
from aasp_features.options import check_choice, check_device, check_whole
from aasp_features.windows import COLUMN_SECONDS

FRAME_POOLINGS = ("mean", "frequency")  # whose clip vector is the mean of the frame vectors
OTHER = "other"  # label of sounds unlike all that the classifier learnt from


class Prediction(NamedTuple):
    """A class, and how likely it is that a sound is of it; NaN for ``other``, whose probability is unknown."""

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
        thresholds: least probability of an event, one for each class (default: 0.5).
        min_probability: a sound is ``other`` if all its probabilities are lower (default: none; no sound is).

    Raises:
        OptionError: labels that are no names, a head of another size, or thresholds that are not accepted.
    """

    def __init__(
        self,
        encoder: AaSPEncoder,
        labels: Sequence[str],
        head: nn.Linear,
        *,
        multi_label: bool = False,
        thresholds: Sequence[float] | None = None,
        min_probability: float | None = None,
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
        self.thresholds = check_thresholds(thresholds or [THRESHOLD] * len(self.labels), len(self.labels))
        self.encoder, self.head, self.min_probability = encoder, head, min_probability
        if min_probability is not None:
            check_threshold(min_probability, "min_probability")

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
            values, weights = read_files(found, encoder.embedding_dim)
        head = nn.Linear(encoder.embedding_dim, len(values["labels"]), device="meta").to_empty(device="cpu")
        head.load_state_dict(weights)
        chosen = {name: values[name] for name in ("multi_label", "thresholds", "min_probability")}
        classifier = cls(encoder, values["labels"], head, **chosen)
        classifier = classifier.requires_grad_(False).eval()
        return classifier.to(device) if device is not None else classifier

    def save_pretrained(self, folder: str | Path, *, card: str | None = None) -> Path:
        """Write the encoder's checkpoint, which ``AaSPEncoder.from_pretrained`` reads, and the head beside it.

        Files: config.json, model.safetensors, README.md, classifier.json, classifier.safetensors.

        Raises:
            CheckpointError: the folder cannot be written, or weights are NaN, infinite or too large.
        """
        tensors = {name: value.detach().cpu().float().contiguous() for name, value in self.head.state_dict().items()}
        check_scores(tensors, str(folder))
        name = self.encoder.config.name
        card = card or f"# A classifier on {name}\n\nIts {len(self.labels)} classes: {', '.join(self.labels)}.\n"
        saved = self.encoder.save_pretrained(folder, card=card)
        values = {
            "multi_label": self.multi_label,
            "labels": list(self.labels),
            "thresholds": list(self.thresholds),
            "min_probability": self.min_probability,
        }
        write_files(saved, values, tensors)
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
    def predict(
        self, sounds: Any, sample_rate: int | None = None, *, top: int = 5, other: bool = False, **choices: Any
    ) -> Any:
        """Return at most ``top`` ``Prediction``s for a single sound, the likeliest first; a list of such for several.

        Args:
            top: number of classes.
            other: return the label ``other`` alone for a sound whose probabilities are all below ``min_probability``.
            sounds, sample_rate, choices: as of ``scores``, which also says what is raised.

        Raises:
            OptionError: ``other``, and the classifier has no ``min_probability``.
        """
        check_whole("top", top)
        if top < 1:
            raise OptionError(f"top must be at least 1, got {top}.")
        if other:
            self.check_other()
        vectors = self.encoder.embed(sounds, sample_rate, pooling=None, last_layers=None, **choices)
        scores = self.classify_vectors(vectors)
        unlike = self.is_other(scores) if other else np.zeros(scores.shape[:-1], np.bool_)
        if scores.ndim == 1:
            return self.ranked(scores, top, bool(unlike))
        return [self.ranked(row, top, bool(one)) for row, one in zip(scores, unlike, strict=True)]

    def predict_frames(
        self,
        sounds: Any,
        sample_rate: int | None = None,
        *,
        hop: float = COLUMN_SECONDS,
        smooth: float = 0.0,
        **choices: Any,
    ) -> Any:
        """Return probabilities along time: ``FramePredictions`` for a single sound, a list of them for several.

        The head reads each frame's vector in place of the clip's, which is their mean.

        Args:
            sounds, sample_rate, choices: as of ``scores``.
            hop: seconds, as of ``AaSPEncoder.embed_frames``.
            smooth: seconds over which the vectors are averaged first, a centred moving average.

        Raises:
            OptionError: a pooling whose clip vector is not the mean of frame vectors; see also ``scores``.
        """
        self.check_frames()
        EventOptions(smooth=smooth).check()
        framed = self.encoder.embed_frames(sounds, sample_rate, hop=hop, pooling=None, last_layers=None, **choices)
        return [self._along(one, smooth) for one in framed] if isinstance(framed, list) else self._along(framed, smooth)

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
        threshold: float | None = None,
        smooth: float = SMOOTH,
        min_duration: float = MIN_DURATION,
        merge_gap: float = MERGE_GAP,
        hop: float = COLUMN_SECONDS,
        **choices: Any,
    ) -> Any:
        """Return the ``Event``s of a single sound, stretches in which a class is likely; a list of such for several.

        Args:
            threshold: the probability from which on a class counts as heard (default: ``thresholds``, by class).
            smooth, min_duration, merge_gap: seconds, as of ``EventOptions``; 0 turns each off.
            sounds, sample_rate, hop, choices: as of ``predict_frames``, which also says what is raised.
        """
        EventOptions(threshold, smooth, min_duration, merge_gap).check()
        framed = self.predict_frames(sounds, sample_rate, hop=hop, smooth=smooth, **choices)
        found = []
        for one in framed if isinstance(framed, list) else [framed]:
            probabilities, times = (np.asarray(torch.as_tensor(part).cpu()) for part in one)
            kept = {"min_duration": min_duration, "merge_gap": merge_gap}
            found.append(find_events(probabilities, times, self.labels, threshold or self.thresholds, hop, **kept))
        return found if isinstance(framed, list) else found[0]

    def classify_vectors(self, vectors: Any) -> NDArray[np.float32]:
        """Return (…, classes) probabilities for (…, d) vectors of the encoder, array or tensor, computed in float64.

        Raises:
            OptionError: vectors of another length.
        """
        given = self._checked(vectors)
        weight, bias = (part.detach().cpu().double() for part in (self.head.weight, self.head.bias))
        logits = given @ weight.T + bias
        return (logits.sigmoid() if self.multi_label else logits.softmax(dim=-1)).float().numpy()

    def is_other(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return (…) whether the largest of (…, classes) probabilities is lower than ``min_probability``.

        Raises:
            OptionError: the classifier has no ``min_probability``.
        """
        return np.asarray(probabilities.max(axis=-1) < self.check_other())

    def ranked(self, probabilities: NDArray[np.float32], top: int, other: bool = False) -> list[Prediction]:
        """Return the ``top`` likeliest of (classes,) probabilities, the likeliest first; ``other`` alone if it is."""
        if other:
            return [Prediction(OTHER, math.nan)]
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [Prediction(self.labels[index], float(probabilities[index])) for index in order]

    def _checked(self, vectors: Any) -> Tensor:
        given = torch.as_tensor(vectors).detach().cpu().double()
        if given.ndim == 0 or given.shape[-1] != self.head.in_features:
            shape = tuple(given.shape)
            raise OptionError(f"this classifier reads vectors of {self.head.in_features} numbers, got shape {shape}.")
        return given

    def check_other(self) -> float:
        """Return ``min_probability``; raise OptionError if there is none."""
        if self.min_probability is None:
            raise OptionError("this classifier has no probability below which a sound is other; train it again.")
        return self.min_probability

    def check_frames(self) -> None:
        """Raise OptionError where the head cannot read frame vectors."""
        pooling = self.encoder.config.pooling
        if pooling not in FRAME_POOLINGS:
            raise OptionError(
                f"this classifier reads the pooling {pooling}, which is not the mean of frame vectors, so it says "
                f"nothing of frames; train one with the pooling {' or '.join(FRAME_POOLINGS)}."
            )

    def _along(self, framed: FrameEmbeddings, smooth: float) -> FramePredictions:
        vectors, times = (np.asarray(torch.as_tensor(part).cpu()) for part in framed[:2])
        scores = np.concatenate([self.classify_vectors(piece) for piece in smoothed(vectors, times, smooth)])
        return FramePredictions(_like(framed.embeddings, scores), framed.times)


def _like(given: Any, array: NDArray[np.float32]) -> Any:
    return torch.from_numpy(array).to(given.device) if isinstance(given, Tensor) else array
