"""A model for mteb's audio tasks (MAEB): ``mteb.evaluate(AaSPMteb(), tasks)``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from numpy.typing import NDArray

from aasp_features.encoder import AaSPEncoder
from aasp_features.inputs import scale_to_float

UNKNOWN = ["release_date", "languages", "license", "public_training_code", "public_training_data", "training_datasets"]
CITATION = """@article{yamamoto2025aasp,
  title={AaSP: Aliasing-aware Self-Supervised Pre-Training for Audio Spectrogram Transformers},
  author={Yamamoto, Kohei and Okusa, Kosuke},
  journal={arXiv:2512.03637},
  year={2025}
}"""


class AaSPMteb(AbsEncoder):  # type: ignore[misc]
    """A checkpoint in mteb's interface: the vectors of ``AaSPEncoder.embed``, compared by cosine.

    Args:
        model_name: folder or Hub name of the checkpoint (default: the bundled one).
        revision: branch, tag or commit on the Hub.
        device: device to compute on (default: the CPU).
        options: options of ``AaSPEncoder.from_pretrained``.

    Raises:
        CheckpointError: the checkpoint is missing or incomplete.
    """

    def __init__(
        self, model_name: str | None = None, revision: str | None = None, device: str | None = None, **options: Any
    ) -> None:
        self.model = AaSPEncoder.from_pretrained(model_name, revision=revision, device=device, **options)
        self.mteb_model_meta = describe(self.model, model_name, revision)

    def encode(
        self, inputs: Any, *, task_metadata: Any = None, hf_split: str = "", hf_subset: str = "", **options: Any
    ) -> NDArray[np.float32]:
        """Embed a loader's sounds.

        Args:
            inputs: ``DataLoader`` of rows whose ``audio`` has ``array`` and ``sampling_rate``.
            task_metadata, hf_split, hf_subset, options: given by mteb, not used.

        Returns:
            (n, d) float32.

        Raises:
            InputError: a sound cannot be embedded.
        """
        inputs.collate_fn = lambda rows: [_sound(row) for row in rows]  # mteb's resamples with aliases, and may cut
        vectors = [self.model.embed(sounds) for sounds in inputs]
        return np.concatenate(vectors) if vectors else np.empty((0, self.model.embedding_dim), np.float32)


def describe(encoder: AaSPEncoder, model_name: str | None, revision: str | None) -> ModelMeta:
    """Describe a checkpoint to mteb, which files results under its name and revision.

    Without a Hub revision, the first digits of the weights' sha256 are the revision.
    """
    config = encoder.config
    parameters = sum(weight.numel() for weight in encoder.network.parameters())
    on_the_hub = model_name is not None and not Path(model_name).exists()
    return ModelMeta(
        **dict.fromkeys(UNKNOWN),
        loader=partial(_load, model_name, revision),
        name=model_name.partition("@")[0] if on_the_hub and model_name else f"aasp-features/{config.name}",
        revision=revision or (encoder.sha256 or "untrained")[:40],
        n_parameters=parameters,
        n_embedding_parameters=0,
        memory_usage_mb=round(4 * parameters / 2**20),
        max_tokens=float("inf"),
        embed_dim=config.embedding_dim,
        open_weights=True,
        framework=["PyTorch", "safetensors"],
        similarity_fn_name="cosine",
        use_instructions=False,
        modalities=["audio"],
        citation=CITATION,
    )


def _load(source: str | None, commit: str | None, _: str, **options: Any) -> AaSPMteb:
    """Load the checkpoint again by its source, whatever name mteb files it under."""
    return AaSPMteb(source, **{**options, "revision": commit})


def _sound(row: dict[str, Any]) -> tuple[NDArray[Any], int]:
    """Return (samples,) and their rate; channels, which come first, are averaged."""
    array, rate = np.asarray(row["audio"]["array"]), int(row["audio"]["sampling_rate"])
    return (scale_to_float(array).mean(axis=0) if array.ndim == 2 else array), rate
