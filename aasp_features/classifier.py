"""AaSPClassifier: sound in, names out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aasp_features import checkpoint
from aasp_features.classifier_file import StoredClassifier, check_labels, read_classifier, save_classifier
from aasp_features.config import Precision
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.events import THRESHOLD, check_threshold, find_events
from aasp_features.inference import FrameEmbeddings
from aasp_features.options import check_choice, check_device, check_whole
from aasp_features.windows import COLUMN_SECONDS

FRAME_POOLINGS = ("mean", "frequency")  # whose clip vector is the mean of the frame vectors


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
        several: may a clip have several labels, or none? Probabilities are then each class's own (sigmoid), and not
            shared between the classes (softmax).

    Raises:
        OptionError: labels that are no names, or a head of another size.
    """

    def __init__(self, encoder: AaSPEncoder, labels: Sequence[str], head: nn.Linear, *, several: bool = False) -> None:
        super().__init__()
        self.labels = check_labels(labels, several)
        self.several = several
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
        stored = read_classifier(found.folder, found.source, encoder.embedding_dim, found.sha256)
        head = nn.Linear(encoder.embedding_dim, len(stored.labels), device="meta").to_empty(device="cpu")
        head.load_state_dict({"weight": stored.weight, "bias": stored.bias})
        classifier = cls(encoder, stored.labels, head, several=stored.several).requires_grad_(False).eval()
        return classifier.to(device) if device is not None else classifier

    def save_pretrained(self, folder: str | Path, *, card: str | None = None) -> Path:
        """Write the encoder's checkpoint, which ``AaSPEncoder.from_pretrained`` reads, and the head beside it.

        Files: config.json, model.safetensors, README.md, classifier.json, classifier.safetensors.

        Raises:
            CheckpointError: the folder cannot be written, or weights are NaN or infinite.
        """
        name = self.encoder.config.name
        card = card or f"# A classifier on {name}\n\nIts {len(self.labels)} classes: {', '.join(self.labels)}.\n"
        saved = self.encoder.save_pretrained(folder, card=card)
        save_classifier(saved, StoredClassifier(self.labels, self.several, self.head.weight, self.head.bias))
        return saved

    def push_to_hub(self, repo_id: str, *, card: str | None = None, **hub_options: Any) -> str:
        """Save and upload to ``repo_id`` on the Hub; returns its address. Options as of ``AaSPEncoder.push_to_hub``.

        Raises:
            CheckpointError: the Hub refuses or cannot be reached.
        """
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            saved = self.save_pretrained(Path(folder) / "checkpoint", card=card)
            return checkpoint.push_checkpoint(saved, repo_id, **hub_options)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (batch, classes) of waveforms that fit one window, differentiable; see ``AaSPEncoder.forward``."""
        return self.head(self.encoder(waveform, lengths))  # type: ignore[no-any-return]

    def scores(self, sounds: Any, sample_rate: int | None = None, **choices: Any) -> Any:
        """Probabilities of the classes: (classes,) for a single sound, (B, classes) for several.

        numpy in, numpy out; tensor in, tensor out on its device; float32.

        Args:
            sounds: any of the forms that ``AaSPEncoder.embed`` takes.
            sample_rate: of raw arrays; None means 16 kHz.
            choices: batch_size, window, context, channel_axis, as of ``AaSPEncoder.embed``, which also says what is
                raised.
        """
        vectors = self.encoder.embed(sounds, sample_rate, pooling=None, last_layers=None, **choices)
        return _like(vectors, self.classify_vectors(vectors))

    def predict(self, sounds: Any, sample_rate: int | None = None, *, top: int = 5, **choices: Any) -> Any:
        """The likeliest classes: a list of at most ``top`` ``Prediction``s for a single sound, a list of such for
        several. Other arguments and errors as of ``scores``.
        """
        check_whole("top", top)
        if top < 1:
            raise OptionError(f"top must be at least 1, got {top}.")
        scores = np.asarray(torch.as_tensor(self.scores(sounds, sample_rate, **choices)).cpu())
        return self.ranked(scores, top) if scores.ndim == 1 else [self.ranked(row, top) for row in scores]

    def predict_frames(
        self, sounds: Any, sample_rate: int | None = None, *, hop: float = COLUMN_SECONDS, **choices: Any
    ) -> Any:
        """Probabilities along time: ``FramePredictions`` for a single sound, a list of them for several.

        The head reads each frame's vector in place of the clip's, which is their mean.

        Args:
            sounds, sample_rate, choices: as of ``scores``.
            hop: seconds, as of ``AaSPEncoder.embed_frames``.

        Raises:
            OptionError: a pooling whose clip vector is not the mean of frame vectors; see also ``scores``.
        """
        self.check_frames()
        framed = self.encoder.embed_frames(sounds, sample_rate, hop=hop, pooling=None, last_layers=None, **choices)
        return self._along(framed) if isinstance(framed, FrameEmbeddings) else [self._along(one) for one in framed]

    def events(
        self,
        sounds: Any,
        sample_rate: int | None = None,
        *,
        threshold: float = THRESHOLD,
        hop: float = COLUMN_SECONDS,
        **choices: Any,
    ) -> Any:
        """Stretches in which a class is likely: a list of ``Event``s for a single sound, a list of such for several.

        Args:
            threshold: the probability from which on a class counts as heard.
            sounds, sample_rate, hop, choices: as of ``predict_frames``, which also says what is raised.
        """
        check_threshold(threshold)
        framed = self.predict_frames(sounds, sample_rate, hop=hop, **choices)
        found = [
            find_events(_on_cpu(one.probabilities), _on_cpu(one.times), self.labels, threshold, hop)
            for one in ([framed] if isinstance(framed, FramePredictions) else framed)
        ]
        return found[0] if isinstance(framed, FramePredictions) else found

    def classify_vectors(self, vectors: Any) -> NDArray[np.float32]:
        """(…, d) vectors of the encoder, array or tensor -> (…, classes) probabilities; computed in float64.

        Raises:
            OptionError: vectors of another length.
        """
        given = torch.as_tensor(vectors).detach().cpu().double()
        if given.ndim == 0 or given.shape[-1] != self.head.in_features:
            shape = tuple(given.shape)
            raise OptionError(f"this classifier reads vectors of {self.head.in_features} numbers, got shape {shape}.")
        weight, bias = (part.detach().cpu().double() for part in (self.head.weight, self.head.bias))
        logits = given @ weight.T + bias
        return (logits.sigmoid() if self.several else logits.softmax(dim=-1)).float().numpy()

    def ranked(self, probabilities: NDArray[np.float32], top: int) -> list[Prediction]:
        """(classes,) -> the ``top`` likeliest, the likeliest first."""
        places = np.argsort(-probabilities, kind="stable")[:top]
        return [Prediction(self.labels[place], float(probabilities[place])) for place in places]

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


def _on_cpu(values: Any) -> NDArray[Any]:
    return values.cpu().numpy() if isinstance(values, Tensor) else values


def _like(given: Any, array: NDArray[np.float32]) -> Any:
    return torch.from_numpy(array).to(given.device) if isinstance(given, Tensor) else array
