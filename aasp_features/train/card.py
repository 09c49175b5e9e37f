"""A run, its metrics and its probe report -> the checkpoint's card (README.md)."""

from __future__ import annotations

from pathlib import Path

from aasp_features.config import AaSPConfig
from aasp_features.train.curves import read_metrics
from aasp_features.train.export import describe

CARD = """---
license: apache-2.0
library_name: aasp-features
pipeline_tag: feature-extraction
tags:
- audio
- audio-embeddings
- self-supervised
- spectrogram
---

# {name}

Vectors from sound: an audio spectrogram transformer with aliasing-aware patch embedding (AaPE), pre-trained without
labels by AaSP (Yamamoto & Okusa, arXiv:2512.03637) in an independent implementation, `aasp-features`.

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

{summary}
Length of crops and size of batches along the run: {stages}.

| | step {first_step} | step {middle_step} | step {last_step} |
|---|---|---|---|
{losses}

Chance for the contrast is ln(1 + views of other clips): {chance:.2f} in the first stage.

## Results

{results}

## Limits

- Pre-trained on {hours:.1f} hours only: an honest first checkpoint, not a strong one. Encoders trained on thousands of
  hours do better.
- Speech in the corpus is mostly English; music is mostly game scores; nothing above 8 kHz is seen.
- Trained on crops of at most {longest:.2f} s; longer recordings are cut into windows of {window_seconds:.2f} s.
- The training audio was lossily coded (Opus, 32 kbit/s).
- A voice's vector may identify its speaker; do not use it to identify people without their consent.

## Licence

The weights are released under Apache-2.0, as the code. The recordings they were trained on keep their own licences
(CC BY, CC BY-SA, GPL, LGPL, BSD, MIT, Apache, CC0 and public domain): see `ATTRIBUTION.md`.
"""
ROWS = ["loss_frame", "loss_utterance", "loss_contrast", "target_variance", "utterance_target_variance", "rankme_mean"]
ROWS += ["rankme_cls", "omega_hz_mean", "omega_hz_std", "alpha_mean", "alpha_std", "gradient_norm"]


def write_card(run: Path, config: AaSPConfig, results: str, out: Path) -> Path:
    """Write a checkpoint's card.

    Args:
        run: folder of the run: its record and metrics are read.
        config: of the exported checkpoint.
        results: Markdown with the probe tables and the command that makes them.
        out: file to write.
    """
    _, summary, recipe, hours = describe(run)
    metrics = read_metrics(run)
    shown = [metrics[0], metrics[len(metrics) // 2], metrics[-1]]
    first = recipe.stages[0]
    text = CARD.format(
        **{name: getattr(config, name) for name in CONFIG_FIELDS},
        size=recipe.size,
        dimensions=config.embedding_dim,
        summary=summary,
        stages="; ".join(
            f"{stage.columns * 0.16:.2f} s, {stage.clips} recordings, until {100 * stage.until:.0f} %"
            for stage in recipe.stages
        ),
        losses="\n".join(
            f"| {row.replace('_', ' ')} | " + " | ".join(f"{line[row]:.3f}" for line in shown) + " |" for row in ROWS
        ),
        chance=_chance(first.clips, recipe.crops * recipe.views),
        first_step=int(shown[0]["step"]),
        middle_step=int(shown[1]["step"]),
        last_step=int(shown[2]["step"]),
        results=results.strip(),
        hours=hours,
        longest=max(stage.columns for stage in recipe.stages) * 0.16,
        window_seconds=config.window * 0.16,
    )
    out.write_text(text, encoding="utf-8")
    return out


CONFIG_FIELDS = ["name", "dim", "depth", "heads", "patch_embed", "kernel", "features", "states", "fft_length"]
CONFIG_FIELDS += ["mean", "std", "pooling", "layers"]


def _chance(clips: int, views: int) -> float:
    from math import log

    return log(1 + (clips - 1) * views)
