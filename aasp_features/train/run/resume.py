"""Rules for resuming a run: settings and facts that may change, and the record of such changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aasp_features.train.errors import TrainError
from aasp_features.train.recipe import Recipe

MAY_CHANGE = {
    *("run.steps", "max_seconds", "optimizer.hold"),  # its end
    *("distillation.token_dropping_until", "distillation.longer_from"),
    *("device", "hardware", "torch", "package", "run.precision"),  # the machine
    *("distillation.parts", "distillation.workers", "data.workers"),
    *("processes", "run.checkpointing", "run.compile", "run.log_every", "run.save_seconds", "run.keep_states"),
    *("run.probe", "run.probe_every", "run.keep_best", "run.tracker"),
    *("distillation.crops", "hours"),  # more crops; another decoder's few samples
    *("distillation.teachers", "distillation.graphs", "distillation.features"),  # paths, whose contents are compared
    *("run.parts", "clips.memory_gb", "config.name"),  # of fine-tuning
}
OF_THE_CORPUS = ("model.changes.mean", "model.changes.std")  # recorded in the recipe
ORIGIN = ("source", "licence", "labels")  # of a teacher; may be reworded
NOT_COMPARED = ("changes", "distinct_crops", "judged")


def check_resumed(folder: Path, old: dict[str, Any], new: dict[str, Any], step: int) -> list[dict[str, Any]]:
    """Return ``changes_since`` between two records of the run in a folder.

    Raises:
        TrainError: It is another run.
    """
    found = changes_since(old, new, step)
    if why := refusal(found):
        raise TrainError(f"{folder} holds a run {why}, or start a new run in another folder.")
    return found


def changes_since(old: dict[str, Any], new: dict[str, Any], step: int) -> list[dict[str, Any]]:
    """List the changes between two records of a run: ``step``, ``what``, ``was`` and ``is`` of each.

    Args:
        old: Saved record.
        new: Record of the resuming run.
        step: Step of the run.
    """
    # Records that lack a setting had its default of then: one that changes must stand here with its old value.
    defaults = flat_settings(
        _plain({"recipe": Recipe().to_dict(), "processes": 1})
    )  # of settings that older records lack
    before, now = ({**defaults, **flat_settings(_plain(record))} for record in (old, new))
    return [
        {"step": step, "what": name, "was": before.get(name), "is": now.get(name)}
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name) and name not in OF_THE_CORPUS
    ]


def refusal(changes: list[dict[str, Any]]) -> str | None:
    """Return why a run cannot resume after these changes, as the end of a sentence; None if it can."""
    refused = {change["what"]: change for change in changes if change["what"] not in MAY_CHANGE}
    if not refused:
        return None
    for what in ("corpus", "sounds"):
        if what in refused:
            return f"with other sounds ({_counts(changes, refused)}); give the sounds of its start"
    if "teachers" in refused:
        was, now = (_names(refused["teachers"][key]) for key in ("was", "is"))
        return f"with other teachers ({was}; now {now}, some of them changed); give the teachers of its start"
    if "mixing" in refused:
        return "whose crops another version mixed differently; finish it with that version"
    if "rounds" in refused:
        return "whose rounds.jsonl is missing or another run's; restore that file"
    first = [f"{one['what']}={_shown(one['was'])}, not {_shown(one['is'])}" for one in refused.values()]
    more = f" and {len(first) - 3} more differences" if len(first) > 3 else ""
    return f"with {', '.join(first[:3])}{more}; give the same settings"


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as JSON gives it back, without fields that may be reworded."""
    plain: dict[str, Any] = json.loads(json.dumps({k: v for k, v in record.items() if k not in NOT_COMPARED}))
    for teacher in plain.get("teachers", []):
        for told in ORIGIN:
            teacher.pop(told, None)
    return plain


def flat_settings(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten settings to dotted names, without ``recipe.`` in front."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        whole = "" if name == "recipe" and not prefix else f"{prefix}{name}"
        flat |= flat_settings(value, f"{whole}." if whole else "") if isinstance(value, dict) else {whole: value}
    return flat


def _counts(changes: list[dict[str, Any]], refused: dict[str, dict[str, Any]]) -> str:
    if "sounds" in refused:
        return f"{refused['sounds']['was']}, now {refused['sounds']['is']}"
    return "as many, but with other names or contents"


def _names(teachers: list[dict[str, Any]] | None) -> str:
    return ", ".join(str(one["name"]) for one in teachers or []) or "none"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
