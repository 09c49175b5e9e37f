"""A run's record, its metrics and its corpus' manifest, put into a template -> the checkpoint's card (README.md).

A template is Markdown with the names in ``FIELDS``, as ``$name`` or ``${name}``; ``$$`` is a dollar sign. What is not
known is empty: a line that is one empty field is left out, and so is a section (``##``) in which nothing remains.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from huggingface_hub import ModelCardData

from aasp_features.config import FRAME_HOP, PATCH, AaSPConfig
from aasp_features.train.errors import TrainError
from aasp_features.train.release.info import describe_config
from aasp_features.train.release.manifest import Sound, duration, table, total_seconds
from aasp_features.train.release.mix import in_words
from aasp_features.train.release.run_summary import RunSummary

FIELDS = {
    "metadata": "for the Hub, YAML: licence, library, tags",
    "name": "of the checkpoint",
    "method": "how it came to be, a sentence",
    "dimensions": "of a vector under the default pooling",
    "network": "size, patch embedding, input, vector, window: a list",
    "training": "recipe, length, device, crops; earlier runs first; what was mixed in",
    "losses": "losses and health at the run's start, middle and end: a table",
    "teachers": "external teachers, their sources, licences and labels: a table",
    "sound": "sounds, hours, sources and licences that the manifest tells: a table",
    "results": "the Markdown of --results",
    "limits": "that follow from the run: a list",
    "own_limits": "the Markdown of --limits",
    "licence": "of the weights, as --licence says; and where the sounds' own are",
}
TEMPLATE = Path(__file__).with_name("card.md")
EMBEDDINGS = {
    "aape": "with aliasing-aware patch embedding (AaPE)",
    "conv": "on plain patches of the log-mel",
    "lowpass": "on patches of the low-passed log-mel",
}
SIGNS = ["target_variance", "clip_target_variance", "rankme_mean", "rankme_cls", "gradient_norm"]
SIGNS += ["omega_hz_mean", "omega_hz_std", "alpha_mean", "alpha_std"]
TEACHERS = """The student learnt to predict, by linear heads from its own vector, what these networks say of the same
sound; a loss of 1 is that of guessing their mean. They are not part of this checkpoint, and are not needed to use it.

"""


@dataclass(frozen=True)
class Author:
    """What only the author of a checkpoint knows; empty is not told.

    Attributes:
        licence: of the weights, an identifier as the Hub lists them, such as ``apache-2.0``.
        results, limits: Markdown: tables with the command that makes them; a list of what the weights are not good for.
        template: Markdown with the names of ``FIELDS``.
    """

    licence: str = ""
    results: str = ""
    limits: str = ""
    template: str = field(default_factory=lambda: TEMPLATE.read_text(encoding="utf-8"))

    def __post_init__(self) -> None:
        if self.licence and not re.fullmatch(r"[\w.+-]+", self.licence):
            raise TrainError(
                f"a licence is one identifier, such as apache-2.0, cc-by-4.0 or other; got {self.licence!r}."
            )


@dataclass(frozen=True)
class Sources:
    """What a card is written from, beside the author's words.

    Attributes:
        run: whose weights the checkpoint holds.
        metrics: log lines of that run.
        earlier: runs whose weights that one started from, the first one first.
        mix: share of the weights that is another checkpoint's, by name.
        sounds: rows of the corpus' manifest.
        stored: type of the weights in their file, such as ``float16``.
    """

    run: RunSummary
    metrics: Sequence[dict[str, float]] = ()
    earlier: Sequence[RunSummary] = ()
    mix: Mapping[str, float] = field(default_factory=dict)
    sounds: Sequence[Sound] = ()
    stored: str = ""


def card_text(config: AaSPConfig, sources: Sources, author: Author | None = None) -> str:
    """The card of a checkpoint with this config.

    Raises:
        TrainError: the template has a name that is none of ``FIELDS``.
    """
    author = author or Author()
    return fill(author.template, card_fields(config, sources, author))


def card_fields(config: AaSPConfig, sources: Sources, author: Author) -> dict[str, str]:
    """A text for each of ``FIELDS``."""
    run = sources.run
    return {
        "metadata": _metadata(run, author.licence),
        "name": config.name,
        "method": _method(config, run, sources.earlier),
        "dimensions": str(config.embedding_dim),
        "network": "\n".join(f"- {name}: {fact}" for name, fact in _network(config, sources.stored).items()),
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
    """Put the fields into a template, and leave out the lines and sections that they leave empty.

    Raises:
        TrainError: a name that is no field, or a dollar sign that is neither doubled nor before a name.
    """
    text = template
    for name in (name for name, value in fields.items() if not value):
        text = re.sub(rf"^\$(?:{name}|\{{{name}\}})[ \t]*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^## .*\n\s*(?=^## |\Z)", "", text, flags=re.MULTILINE)
    text = re.sub(r"\n{3,}", "\n\n", text)
    try:
        return Template(text).substitute(fields).rstrip() + "\n"
    except KeyError as error:
        raise TrainError(f"the template names ${error.args[0]}; there are {', '.join(fields)}.") from error
    except ValueError as error:
        raise TrainError(f"the template has a $ before no name ({error}); write $$ for a dollar sign.") from error


def _metadata(run: RunSummary, licence: str) -> str:
    tags = ["audio", "audio-embeddings", "distillation" if run.teachers else "self-supervised", "spectrogram"]
    data = ModelCardData(
        license=licence.lower() or None, library_name="aasp-features", pipeline_tag="feature-extraction", tags=tags
    )
    return data.to_yaml().strip()


def _network(config: AaSPConfig, stored: str) -> dict[str, str]:
    weights = {"weights": f"stored as {stored}, loaded as float32"} if stored else {}
    return describe_config(config) | weights


def _method(config: AaSPConfig, run: RunSummary, earlier: Sequence[RunSummary]) -> str:
    how = ["pre-trained without labels by AaSP"] if run.learns_masked else []
    if run.teachers:
        how.append(f"taught by other networks ({', '.join(teacher['name'] for teacher in run.teachers)})")
    first = [*earlier, run][0].start_from
    start = f", from the weights of `{first}`" if first else ""
    return (
        f"Vectors from sound: an audio spectrogram transformer {EMBEDDINGS[config.patch_embed]},\n"
        f"{' and '.join(how)}{start}. Made with `aasp-features`, an implementation of AaSP (Yamamoto & Okusa,\n"
        "arXiv:2512.03637) independent of its authors."
    )


def _training(sources: Sources) -> str:
    """Paragraphs: earlier runs, the last one, and what its weights were mixed with."""
    earlier = [text for run in sources.earlier for text in (f"Earlier: {run.paragraph}", run.crops)]
    return "\n\n".join([*earlier, sources.run.paragraph, sources.run.crops, in_words(sources.mix)]).strip()


def _losses(metrics: Sequence[dict[str, float]], chance: float | None) -> str:
    """The first, the middle and the last line of a run's metrics."""
    shown = [metrics[place] for place in sorted({0, len(metrics) // 2, len(metrics) - 1}) if metrics]
    names = [name for name in (shown[-1] if shown else []) if name.startswith("loss_") or name in SIGNS]
    if not names:
        return ""
    rows = [
        [name.replace("_", " "), *(f"{line[name]:.3f}" if name in line else "" for line in shown)] for name in names
    ]
    text = table(["", *(f"step {int(line['step'])}" for line in shown)], rows)
    if chance is not None:
        text += f"\n\nChance for the contrast is ln(1 + views of other clips): {chance:.2f} in the first stage."
    return text


def _teachers(run: RunSummary) -> str:
    if not run.teachers:
        return ""
    rows = [[teacher[key] for key in ("name", "source", "licence", "labels")] for teacher in run.teachers]
    return TEACHERS + table(["teacher", "source", "licence", "what it was trained to tell"], rows)


def _sound(sounds: Sequence[Sound]) -> str:
    """What the manifest tells, counted from its rows."""
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
    return f"{', '.join(parts)}.\n\n{table(header, [row[: len(header)] for row in rows])}"


def _limits(config: AaSPConfig, run: RunSummary, author: Author) -> str:
    """What the record shows; and, unless the author wrote limits of their own, what it does not show."""
    window = config.window * PATCH * FRAME_HOP / config.sample_rate
    limits = [
        f"- Trained on crops of at most {run.longest:.2f} s; longer sounds are cut into windows of {window:.2f} s.",
        f"- Sound is taken at {config.sample_rate} Hz: nothing above {config.sample_rate // 2000} kHz is heard.",
    ]
    if not author.limits.strip():
        limits.append("- The record does not tell whether the training audio had been coded lossily (MP3, Opus, AAC).")
    return "\n".join(limits)


def _licence(licence: str, sounds: Sequence[Sound]) -> str:
    text = f"The weights are released under {licence}." if licence else "No licence of the weights was stated."
    if any(sound.licence for sound in sounds):
        text += " The recordings they were trained on keep their own licences"
        text += ": see `ATTRIBUTION.md`." if all(sound.source for sound in sounds) else "."
    return text
