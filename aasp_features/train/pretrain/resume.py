"""May a run go on under this recipe and with these sounds? What may change is named here, and written down."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from aasp_features.train.distillation_settings import DisturbanceSettings

MAY_CHANGE = {
    *("run.steps", "max_seconds", "optimizer.hold"),  # when it ends, and how
    *("distillation.dropped_until", "distillation.longer_from"),
    *("device", "torch", "run.precision", "distillation.parts", "distillation.workers"),  # what it is computed with
    *("run.log_every", "run.save_seconds"),
    *("distillation.crops", "hours"),  # more crops to make; another decoder's few samples
    *("distillation.teachers", "distillation.graphs", "distillation.features"),  # places: what lies there is compared
}
OF_THE_CORPUS = ("model.changes.mean", "model.changes.std")  # a record has them in its recipe
ORIGIN = ("source", "licence", "labels")  # of a teacher; may be worded anew
DEFAULTS = {  # of what older records do not tell
    "optimizer.kind": "adamw",
    "optimizer.muon_rate": 0.02,
    "distillation.seed": 0,
    "distillation.loss": "squared",
    "distillation.balanced_by": "",
    "distillation.balance": 0.5,
    **{f"distillation.disturbance.{name}": value for name, value in asdict(DisturbanceSettings()).items()},
}
NOT_COMPARED = ("changes", "distinct_crops")


def changes_since(old: dict[str, Any], new: dict[str, Any], step: int) -> list[dict[str, Any]]:
    """What a run's record says now otherwise than when it was saved: ``step``, ``what``, ``was`` and ``is`` of each.

    Args:
        old: the record that was saved.
        new: that of the run that wants to go on.
        step: where the run is.
    """
    before, now = ({**DEFAULTS, **_flat(_plain(record))} for record in (old, new))
    names = [name for name in dict.fromkeys([*before, *now]) if name not in OF_THE_CORPUS]
    return [
        {"step": step, "what": name, "was": before.get(name), "is": now.get(name)}
        for name in names
        if before.get(name) != now.get(name)
    ]


def refusal(changes: list[dict[str, Any]]) -> str | None:
    """Why a run cannot go on after these changes, as the end of a sentence; None if it can."""
    refused = {change["what"]: change for change in changes if change["what"] not in MAY_CHANGE}
    if not refused:
        return None
    for what in ("corpus", "sounds"):
        if what in refused:
            return f"of other sounds ({_counts(changes, refused)}); give it the sounds that it began with"
    if "teachers" in refused:
        was, now = (_names(refused["teachers"][key]) for key in ("was", "is"))
        return f"of other teachers ({was}; now {now}, some of them changed); give it those that it began with"
    if "mixing" in refused:
        return "whose crops an earlier version mixed in another way; finish it with that version"
    if "rounds" in refused:
        return "whose rounds.jsonl is missing or not its own; restore that file"
    first = [f"{one['what']}={_shown(one['was'])}, not {_shown(one['is'])}" for one in refused.values()]
    more = f" and {len(first) - 3} more differences" if len(first) > 3 else ""
    return f"with {', '.join(first[:3])}{more}; ask for the same"


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back, without what may be worded anew."""
    plain: dict[str, Any] = json.loads(json.dumps({k: v for k, v in record.items() if k not in NOT_COMPARED}))
    for teacher in plain.get("teachers", []):
        for told in ORIGIN:
            teacher.pop(told, None)
    return plain


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names; the recipe's without ``recipe.`` in front."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        whole = "" if name == "recipe" and not prefix else f"{prefix}{name}"
        flat |= _flat(value, f"{whole}." if whole else "") if isinstance(value, dict) else {whole: value}
    return flat


def _counts(changes: list[dict[str, Any]], refused: dict[str, dict[str, Any]]) -> str:
    if "sounds" in refused:
        return f"{refused['sounds']['was']}, now {refused['sounds']['is']}"
    return "as many, but other names or contents"


def _names(teachers: list[dict[str, Any]] | None) -> str:
    return ", ".join(str(one["name"]) for one in teachers or []) or "none"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
