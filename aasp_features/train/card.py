"""A run, its metrics and its probe report -> the checkpoint's card (README.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aasp_features.config import AaSPConfig
from aasp_features.train.curves import read_metrics
from aasp_features.train.export import RunSummary, describe
from aasp_features.train.recipe import Recipe

CARD = """---
license: apache-2.0
library_name: aasp-features
pipeline_tag: feature-extraction
tags:
- audio
- audio-embeddings
- {tag}
- spectrogram
---

# {name}

Vectors from sound: an audio spectrogram transformer with aliasing-aware patch embedding (AaPE, from AaSP: Yamamoto &
Okusa, arXiv:2512.03637) in an independent implementation, `aasp-features`, {how}.

```python
from aasp_features import AaSPEncoder

encoder = AaSPEncoder.from_pretrained("{name}")
vector = encoder.embed("sound.wav")  # ({dimensions},) float32
```

## What it is

{size}: {dim} wide, {depth} blocks, {heads} heads; patch embedding `{patch_embed}` ({kernel} kernel, {features}
features, {states} states). Input: any sound, taken as 16 kHz mono; 128 mel bands over {fft_length} points, mean
{mean:.4f}, standard deviation {std:.4f}. Default pooling `{pooling}`, last {layers} block(s): {dimensions} numbers.
Stored as float16, loaded as float32.

## Training

{before}{summary}

{crops}

| | step {first_step} | step {middle_step} | step {last_step} |
|---|---|---|---|
{losses}

{notes}

## Results

{results}

## Limits

- Trained on {hours:.1f} hours of sound only{limit}.
- Speech in the corpus is mostly English; music is mostly game scores; nothing above 8 kHz is seen.
- Trained on crops of at most {longest:.2f} s; longer recordings are cut into windows of {window_seconds:.2f} s.
- The training audio was lossily coded (Opus, 32 kbit/s).
- A voice's vector may identify its speaker; do not use it to identify people without their consent.

## Licence

The weights are released under Apache-2.0, as the code. The recordings they were trained on keep their own licences
(CC BY, CC BY-SA, GPL, LGPL, BSD, MIT, Apache, CC0 and public domain): see `ATTRIBUTION.md`.
"""
AASP = "pre-trained without labels by AaSP"
TEACHERS = """The student learnt to predict, by linear heads from its own vector, what these networks say of the same
sound; a loss of 1 is that of guessing their mean. They are not part of this checkpoint, and are not needed to use it.

| teacher | source | licence | what it was trained to tell |
|---|---|---|---|
"""


def write_card(runs: Sequence[Path], config: AaSPConfig, results: str, out: Path, earlier: Sequence[Path] = ()) -> Path:
    """Write a checkpoint's card.

    Args:
        runs: folders of the runs: the first one's record and metrics are read.
        config: of the exported checkpoint.
        results: Markdown with the probe tables and the command that makes them.
        out: file to write.
        earlier: folders of the runs whose weights these started from, the first one first.
    """
    described, metrics = describe(runs), read_metrics(runs[0])
    recipe, record = described.recipe, described.record
    before = [describe([run]) for run in earlier]
    shown = [metrics[0], metrics[len(metrics) // 2], metrics[-1]]
    text = CARD.format(
        **{name: getattr(config, name) for name in CONFIG_FIELDS},
        size=recipe.model.size,
        how=_how(recipe, record, before),
        tag="self-supervised" if not recipe.distillation.teachers else "distillation",
        dimensions=config.embedding_dim,
        before="".join(f"Earlier: {one.paragraph}\n\n{_crops(one.recipe)}\n\n" for one in before),
        summary=described.paragraph,
        crops=_crops(recipe),
        losses="\n".join(_rows(shown)),
        notes=_notes(recipe, record),
        first_step=int(shown[0]["step"]),
        middle_step=int(shown[1]["step"]),
        last_step=int(shown[2]["step"]),
        results=results.strip(),
        hours=record["hours"],
        limit=": encoders trained on thousands of hours do better"
        if not recipe.distillation.teachers
        else "; the teachers heard more",
        longest=0.16 * max(columns for columns, _ in _lengths(recipe)),
        window_seconds=config.window * 0.16,
    )
    out.write_text(text, encoding="utf-8")
    return out


def _how(recipe: Recipe, record: dict[str, Any], before: Sequence[RunSummary]) -> str:
    parts = [AASP] if recipe.learns_masked else []
    if recipe.distillation.teachers:
        parts.append(f"taught by other networks ({', '.join(teacher['name'] for teacher in record['teachers'])})")
    first = before[0].record if before else record
    start = f", from the weights of `{first['start_from']}`" if first.get("start_from") else ""
    return " and ".join(parts) + start


def _lengths(recipe: Recipe) -> list[tuple[int, str]]:
    """Columns of the crops, and in words how many there were of them."""
    if recipe.distillation.teachers:
        crop = recipe.distillation.crop
        total = sum(length.share for length in crop.lengths)
        return [(length.columns, f"{100 * length.share / total:.0f} % of them") for length in crop.lengths]
    return [(s.columns, f"{s.sounds} recordings, until {100 * s.until:.0f} %") for s in recipe.data.stages]


def _crops(recipe: Recipe) -> str:
    lengths = "; ".join(f"{columns * 0.16:.2f} s, {share}" for columns, share in _lengths(recipe))
    if not recipe.distillation.teachers:
        return f"Length of crops and size of batches along the run: {lengths}."
    crop = recipe.distillation.crop
    mixed, played, filtered = crop.mix_probability, crop.speed_probability, crop.filter_probability
    drawn = {0.0: "each recording equally often", 1.0: "each second of sound equally often"}
    often = drawn.get(crop.by_duration, f"longer recordings more often (power {crop.by_duration:g} of their duration)")
    start = recipe.distillation.longer_from
    late = f", the longer ones after {100 * start:.0f} % of the run" if start else ""
    return (
        f"Crops: {lengths}{late}; {often}; {100 * mixed:.0f} % mixed "
        f"with another recording, {100 * played:.0f} % played faster or slower, {100 * filtered:.0f} % filtered; level "
        f"±{crop.gain_db:.0f} dB."
    )


def _rows(shown: list[dict[str, float]]) -> list[str]:
    names = [name for name in shown[-1] if name.startswith("loss_") or name in SIGNS]
    return [
        f"| {name.replace('_', ' ')} | "
        + " | ".join(f"{line[name]:.3f}" if name in line else "" for line in shown)
        + " |"
        for name in names
    ]


def _notes(recipe: Recipe, record: dict[str, Any]) -> str:
    notes = []
    if recipe.learns_masked and not recipe.distillation.teachers:
        chance = math.log(1 + (recipe.data.stages[0].sounds - 1) * recipe.data.crops * recipe.masking.views)
        notes.append(f"Chance for the contrast is ln(1 + views of other clips): {chance:.2f} in the first stage.")
    if recipe.distillation.teachers:
        rows = [f"| {t['name']} | {t['source']} | {t['licence']} | {t['labels']} |" for t in record["teachers"]]
        notes.append(TEACHERS + "\n".join(rows))
    return "\n\n".join(notes)


CONFIG_FIELDS = ["name", "dim", "depth", "heads", "patch_embed", "kernel", "features", "states", "fft_length"]
CONFIG_FIELDS += ["mean", "std", "pooling", "layers"]

SIGNS = ["target_variance", "clip_target_variance", "rankme_mean", "rankme_cls", "gradient_norm"]
SIGNS += ["omega_hz_mean", "omega_hz_std", "alpha_mean", "alpha_std"]
