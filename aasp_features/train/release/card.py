"""Facts of a checkpoint, and its card (README.md) from a run's record and metrics, a manifest and a template.

A template is Markdown with the names in ``FIELDS`` as ``$name`` or ``${name}``; ``$$`` is a dollar sign. A line that is
one empty field is left out, and so is a section (``##``) without content.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import numpy as np
import torch
from huggingface_hub import ModelCardData

from aasp_features.config import FRAME_HOP, PATCH, AaSPConfig
from aasp_features.encoder import AaSPEncoder
from aasp_features.train import markdown
from aasp_features.train.errors import TrainError
from aasp_features.train.release.attribution import ManifestRow, duration, total_seconds
from aasp_features.train.release.run_summary import RunSummary

FIELDS = {
    "metadata": "metadata for the Hub in YAML: licence, library, tags",
    "name": "name of the checkpoint",
    "method": "training method, in a sentence",
    "dimensions": "dimensions of a vector under the default pooling",
    "network": "list: size, patch embedding, input, vector, window",
    "training": "recipe, length, device and crops, earlier runs first, and mixed-in checkpoints",
    "losses": "table: losses and health at the run's start, middle and end",
    "teachers": "table: external teachers, their sources, licences and labels",
    "sound": "table: recordings, hours, sources and licences of the manifest",
    "results": "the Markdown of --results",
    "limits": "list: limits that follow from the run",
    "own_limits": "the Markdown of --limits",
    "licence": "licence of the weights (--licence), and a pointer to those of the recordings",
}
TEMPLATE = Path(__file__).with_name("card.md")
EMBEDDINGS = {
    "aape": "with aliasing-aware patch embedding (AaPE)",
    "conv": "on plain patches of the log-mel",
    "lowpass": "on patches of the low-passed log-mel",
}
FEATURES = {"complex": "complex values", "modulus": "moduli", "both": "complex values and moduli"}
SIGNS = ["target_variance", "clip_target_variance", "rankme_mean", "rankme_cls", "gradient_norm"]
SIGNS += ["omega_hz_mean", "omega_hz_std", "alpha_mean", "alpha_std"]
TEACHERS = """Linear heads on the student's embedding learned to predict the features of these networks for the same
sound; predicting their mean gives a loss of 1. They are not part of this checkpoint, and using it does not need them.

"""


@dataclass(frozen=True)
class Author:
    """Facts that only the author of a checkpoint knows; empty ones are left out.

    Attributes:
        licence: Licence of the weights as the Hub names it, such as ``apache-2.0``.
        results, limits: Markdown: tables with their commands, and a list of unsuitable uses.
        template: Markdown with the names of ``FIELDS``.
    """

    licence: str = ""
    results: str = ""
    limits: str = ""
    template: str = field(default_factory=lambda: TEMPLATE.read_text(encoding="utf-8"))

    def __post_init__(self) -> None:
        if self.licence and not re.fullmatch(r"[\w.+-]+", self.licence):
            raise TrainError(
                f"--licence must be one identifier, such as apache-2.0, cc-by-4.0 or other; got {self.licence!r}."
            )


@dataclass(frozen=True)
class Sources:
    """Facts that a card is written from, apart from the author's.

    Attributes:
        run: Run whose weights the checkpoint holds.
        metrics: Metrics of that run, line by line.
        earlier: Runs that lead to its initial weights, the first one first.
        mix: Shares of the weights that come from other checkpoints, by name.
        sounds: Rows of the corpus' manifest.
        stored: Dtype of the weights in their file, such as ``float16``.
    """

    run: RunSummary
    metrics: Sequence[dict[str, float]] = ()
    earlier: Sequence[RunSummary] = ()
    mix: Mapping[str, float] = field(default_factory=dict)
    sounds: Sequence[ManifestRow] = ()
    stored: str = ""


def card_text(config: AaSPConfig, sources: Sources, author: Author | None = None) -> str:
    """Return the card of a checkpoint with this config.

    Raises:
        TrainError: The template has a name that is not in ``FIELDS``.
    """
    author = author or Author()
    return fill(author.template, card_fields(config, sources, author))


def card_fields(config: AaSPConfig, sources: Sources, author: Author) -> dict[str, str]:
    """Return a text for each of ``FIELDS``."""
    run, facts = sources.run, describe_config(config)
    if sources.stored:
        facts["weights"] = f"stored as {sources.stored}, loaded as float32"
    return {
        "metadata": _metadata(run, author.licence),
        "name": config.name,
        "method": _method(config, run, sources.earlier),
        "dimensions": str(config.embedding_dim),
        "network": "\n".join(f"- {name}: {fact}" for name, fact in facts.items()),
        "training": _training(sources),
        "losses": _losses(sources.metrics, run.contrast_chance),
        "teachers": _teachers(run),
        "sound": _sound(sources.sounds),
        "results": author.results.strip(),
        "limits": _limits(config, run, author),
        "own_limits": author.limits.strip(),
        "licence": _licence(author.licence, sources.sounds),
    }


def fill(template: str, fields: dict[str, str]) -> str:
    """Fill a template, and leave out the lines and sections whose fields are empty.

    Raises:
        TrainError: A name is not a field, or a dollar sign is neither doubled nor before a name.
    """
    text = template
    for name in (name for name, value in fields.items() if not value):
        text = re.sub(rf"^\$(?:{name}|\{{{name}\}})[ \t]*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^## .*\n\s*(?=^## |\Z)", "", text, flags=re.MULTILINE)
    text = re.sub(r"\n{3,}", "\n\n", text)
    try:
        return Template(text).substitute(fields).rstrip() + "\n"
    except KeyError as error:
        raise TrainError(f"the template names ${error.args[0]}; the fields are {', '.join(fields)}.") from error
    except ValueError as error:
        raise TrainError(f"the template has a $ without a name ({error}); write $$ for a dollar sign.") from error


def _metadata(run: RunSummary, licence: str) -> str:
    tags = ["audio", "audio-embeddings", "distillation" if run.teachers else "self-supervised", "spectrogram"]
    data = ModelCardData(
        license=licence.lower() or None, library_name="aasp-features", pipeline_tag="feature-extraction", tags=tags
    )
    return data.to_yaml().strip()


def _method(config: AaSPConfig, run: RunSummary, earlier: Sequence[RunSummary]) -> str:
    how = ["pre-trained without labels by AaSP"] if run.learns_masked else []
    if run.teachers:
        how.append(f"distilled from other networks ({', '.join(teacher['name'] for teacher in run.teachers)})")
    first = [*earlier, run][0].start_from
    start = f", starting from the weights of `{first}`" if first else ""
    return (
        f"Audio embeddings from a spectrogram transformer {EMBEDDINGS[config.patch_embed]},\n"
        f"{' and '.join(how)}{start}. Made with `aasp-features`, an independent implementation of AaSP\n"
        "(Yamamoto & Okusa, arXiv:2512.03637)."
    )


def _training(sources: Sources) -> str:
    earlier = [text for run in sources.earlier for text in (f"Earlier: {run.paragraph}", run.crops)]
    return "\n\n".join([*earlier, sources.run.paragraph, sources.run.crops, mix_in_words(sources.mix)]).strip()


def mix_in_words(shares: Mapping[str, float]) -> str:
    """Return a sentence for cards, or an empty text without shares."""
    if not shares:
        return ""
    others = ", ".join(f"`{Path(name).name}`'s ({100 * share:.3g} %)" for name, share in shares.items())
    rest = 100 * (1 - sum(shares.values()))
    return f"The checkpoint's weights are a weighted mean: this run's ({rest:.3g} %), {others}."


def _losses(metrics: Sequence[dict[str, float]], chance: float | None) -> str:
    """Return a table of the first, the middle and the last line of a run's metrics."""
    shown = [metrics[index] for index in sorted({0, len(metrics) // 2, len(metrics) - 1}) if metrics]
    names = [name for name in (shown[-1] if shown else []) if name.startswith("loss_") or name in SIGNS]
    if not names:
        return ""
    rows = [
        [name.replace("_", " "), *(f"{line[name]:.3f}" if name in line else "" for line in shown)] for name in names
    ]
    text = markdown.table([["", *(f"step {int(line['step'])}" for line in shown)], *rows])
    if chance is not None:
        text += f"\n\nThe contrast loss at chance is ln(1 + views of other clips): {chance:.2f} in the first stage."
    return text


def _teachers(run: RunSummary) -> str:
    if not run.teachers:
        return ""
    rows = [[teacher[key] for key in ("name", "source", "licence", "labels")] for teacher in run.teachers]
    return TEACHERS + markdown.table([["teacher", "source", "licence", "training labels"], *rows])


def _sound(sounds: Sequence[ManifestRow]) -> str:
    if not sounds:
        return ""
    parts = [f"The corpus' manifest lists {len(sounds)} recordings"]
    if (seconds := total_seconds(sounds)) is not None:
        parts.append(duration(seconds))
    if sources := {sound.source for sound in sounds} - {""}:
        parts.append(f"from {len(sources)} source{'s' if len(sources) > 1 else ''}")
    licences = Counter(sound.licence for sound in sounds)
    if not any(licences):
        return ", ".join(parts) + "."
    rows = []
    for licence, count in sorted(licences.items()):
        seconds = total_seconds([sound for sound in sounds if sound.licence == licence])
        rows.append([licence or "not stated", str(count), *([] if seconds is None else [f"{seconds / 60:.1f}"])])
    timed = all(len(row) == 3 for row in rows)
    header = ["licence of the recordings", "recordings", *(["minutes"] if timed else [])]
    return f"{', '.join(parts)}.\n\n{markdown.table([header, *(row[: len(header)] for row in rows)])}"


def _limits(config: AaSPConfig, run: RunSummary, author: Author) -> str:
    """List the limits that the record shows, and, without limits of the author's, what it does not show."""
    window = config.window * PATCH * FRAME_HOP / config.sample_rate
    limits = [
        f"- Trained on crops of at most {run.longest:.2f} s; longer sounds are cut into windows of {window:.2f} s.",
        f"- Input is resampled to {config.sample_rate} Hz, which removes frequencies above "
        f"{config.sample_rate // 2000} kHz.",
    ]
    if not author.limits.strip():
        limits.append("- The record does not say whether the training audio was lossily coded (MP3, Opus, AAC).")
    return "\n".join(limits)


def _licence(licence: str, sounds: Sequence[ManifestRow]) -> str:
    text = f"The weights are released under {licence}." if licence else "No licence is stated for the weights."
    if any(sound.licence for sound in sounds):
        text += " The training recordings keep their own licences"
        text += ": see `ATTRIBUTION.md`." if all(sound.source for sound in sounds) else "."
    return text


def describe_encoder(encoder: AaSPEncoder, seconds: float = 10.0) -> dict[str, str]:
    """Return facts about an encoder by name, with its measured speed.

    Args:
        encoder: Encoder on any device.
        seconds: Length of the sound for the measurement, in seconds.
    """
    millions = sum(parameter.numel() for parameter in encoder.network.parameters()) / 1e6
    facts = describe_config(encoder.config)
    return {
        "name": encoder.config.name,
        "sha256": encoder.sha256 or "none: not loaded from a file",
        **facts,
        "network": f"{facts['network']}, {millions:.1f} M parameters",
        "speed here": f"{_speed(encoder, seconds):.0f} s of sound a second, {seconds:.0f} s at a time, "
        f"{encoder.device.type}, {torch.get_num_threads()} threads",
    }


def describe_config(config: AaSPConfig) -> dict[str, str]:
    """Return the facts in an encoder's config by name."""
    column = PATCH * FRAME_HOP / config.sample_rate
    read = "the last block" if config.last_layers == 1 else f"the mean of the last {config.last_layers} blocks"
    return {
        "network": f"{config.depth} blocks, {config.dim} wide, {config.heads} heads",
        "patch embedding": describe_patch_embedding(config),
        "input": f"{config.sample_rate} Hz mono, {config.mels} mel bands, {config.fft_length}-point FFT, "
        f"mean {config.mean:.4f}, standard deviation {config.std:.4f}",
        "clip vector": f"{config.embedding_dim} numbers (pooling {config.pooling} of {read})",
        "frame rate": f"{1 / column:.2f} a second ({1000 * column:.0f} ms; down to 10 ms with hop)",
        "window": f"{config.window * column:.2f} s, {config.context * column:.2f} s of context on each side",
    }


def describe_patch_embedding(config: AaSPConfig) -> str:
    """Describe the variant of the patch embedding."""
    if config.patch_embed == "aape":
        return f"aape: {config.states} states, {config.kernel} kernel, {FEATURES[config.features]}"
    patches = f"a linear map of each {PATCH} x {PATCH} patch"
    if config.patch_embed == "conv":
        return f"conv: {patches}"
    cutoff, taps = config.lowpass_cutoff, config.lowpass_taps
    return f"lowpass: modulations above {cutoff:g} Hz removed along time ({taps} taps), then {patches}"


def _speed(encoder: AaSPEncoder, seconds: float, rounds: int = 5) -> float:
    sound = np.random.default_rng(0).normal(size=int(seconds * encoder.config.sample_rate)).astype(np.float32) * 0.1
    times = []
    encoder.embed(sound)
    for _ in range(rounds):
        began = time.perf_counter()
        encoder.embed(sound)
        times.append(time.perf_counter() - began)
    return seconds / statistics.median(times)
