"""The HTML report of a run, finished or not: curves, masks, changes at resumes, settings and environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from aasp_features.train.errors import TrainError
from aasp_features.train.html_page import html_page, html_table
from aasp_features.train.recipe import Recipe
from aasp_features.train.recipes import read_recipe, recipe_names
from aasp_features.train.release.attribution import duration
from aasp_features.train.release.run_charts import PACE, PANELS, PROBES, Lines, mask_charts, metric_charts
from aasp_features.train.release.run_summary import recipe_from_record
from aasp_features.train.run.folder import METRICS_FILE, STATE_FILE, read_metrics
from aasp_features.train.run.resume import OF_THE_CORPUS, flat_settings
from aasp_features.train.run.state import Progress, read_record, read_tensors, under

MASKS = "Colour: patches that the student sees. Grey: masked patches that the predictor predicts. Dark: the rest."
TABLES = ("recipe", "changes", "teachers", "rounds", "facts")  # of the record, which are not its environment


def run_report(run: Path) -> str:
    """Return the page of a run of pre-training, distillation or fine-tuning.

    A run before its first saved state has curves only.

    Raises:
        TrainError: There are no metrics, or the run is damaged.
    """
    lines = read_metrics(run)
    if not lines:
        raise TrainError(f"{run / METRICS_FILE} is empty; wait for the run's first metrics.")
    body = [_headline(lines)]
    body += ["<h2>Curves</h2>", _figures(metric_charts(lines, PANELS | PACE))]
    if not (run / STATE_FILE).is_file():
        return html_page(str(run), [*body, '<p class="note">Settings follow with the first saved state.</p>'])
    progress, record = read_record(run)
    body += _masks(run, record)
    if record.get("teachers"):
        rows = [[_text(one.get(key, "")) for key in ("name", "licence", "labels")] for one in record["teachers"]]
        body += ["<h2>External teachers</h2>", html_table(["name", "licence", "labels"], rows, "text")]
    if record.get("changes"):
        rows = [[_text(one[key]) for key in ("step", "what", "was", "is")] for one in record["changes"]]
        body += ["<h2>Changes at resumes</h2>", html_table(["from step", "setting", "was", "is"], rows, "text")]
    body += [*_settings(record["recipe"]), *_environment(progress, record)]
    return html_page(f"{run.resolve().name}: {record['recipe'].get('name', 'fine-tuning')}", body)


def _headline(lines: Lines) -> str:
    """Return a table of the last values, and the best of the online probe."""
    last = lines[-1]
    shares = {"steps": f"{last['step']:,}", "done": f"{100 * last['done']:.1f} %"} if "done" in last else {}
    if 0 < last.get("done", 0) < 1 and "seconds" in last:
        shares["time left"] = duration(last["seconds"] * (1 / last["done"] - 1))
    shown = {name: f"{last[name]:.4g}" for name in ("loss", "rankme_mean", "crops_per_second") if name in last}
    for name in PROBES:
        if found := [(line[name], line["step"]) for line in lines if name in line]:
            best, step = max(found)
            shown[name] = f"{found[-1][0]:.1f} (best {best:.1f}, step {step:,})"
    trained = {"trained for": duration(last["seconds"])} if "seconds" in last else {}
    cells = {**shares, **trained, **shown}
    return html_table(["", "now"], [[name.replace("_", " "), value] for name, value in cells.items()], "scores")


def _figures(charts: Mapping[str, str]) -> str:
    parts = [f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>" for title, chart in charts.items()]
    return '<div class="charts">' + "\n".join(parts) + "</div>"


def _masks(run: Path, record: Mapping[str, Any]) -> list[str]:
    """Return crops of the last log line before the saved state, with the masks of some views."""
    if not (shown := under("health.shown.", read_tensors(run))):
        return []
    charts = mask_charts(
        {name: value.numpy() for name, value in shown.items()}, recipe_from_record(dict(record)).config()
    )
    return ["<h2>Masks</h2>", f'<p class="note">{MASKS}</p>', _figures(charts)]


def _settings(recipe: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ from the preset, and all of them."""
    name, settings = recipe.get("name"), flat_settings(dict(recipe))
    preset: dict[str, Any] = {}
    if "masking" in recipe:  # not of fine-tuning
        preset = flat_settings((read_recipe(Recipe, name, []) if name in recipe_names() else Recipe()).to_dict())
    rows = [
        [_text(key), _text(value), _text(preset.get(key))]
        for key, value in settings.items()
        if preset and value != preset.get(key) and key not in OF_THE_CORPUS
    ]
    changed = html_table(["setting", "run", "preset"], rows, "text") if rows else "<p>Those of the preset.</p>"
    every = html_table(["setting", "run"], [[_text(key), _text(value)] for key, value in settings.items()], "text")
    parts = ["<h2>Settings</h2>"] + ([f"<h3>Changed from the preset</h3>{changed}"] if preset else [])
    return [*parts, f"<details><summary>All settings</summary>{every}</details>"]


def _environment(progress: Progress, record: Mapping[str, Any]) -> list[str]:
    saved = {"saved state": f"step {progress.step:,}", "crops": progress.crops, "precision": progress.precision}
    facts = {**saved, **{key: value for key, value in record.items() if key not in TABLES and value is not None}}
    rows = [[_text(key.replace("_", " ")), _text(value)] for key, value in facts.items()]
    return ["<h2>Environment</h2>", html_table(["", "run"], rows, "text")]


def _text(value: object) -> str:
    """Return a value of a record as HTML, shortened; None is empty."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return escape(text if len(text) <= 200 else f"{text[:200]}…")
