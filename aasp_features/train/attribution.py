"""The sources of a pre-training corpus and their licences -> ATTRIBUTION.md beside the weights."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

HEADER = """# Attribution of the training audio

The weights beside this file were pre-trained on recordings from the public repositories below. The recordings are
not part of this package. Each keeps its own licence; nothing here relicenses them.

| source | commit | licence of the recordings | clips | minutes |
|---|---|---|---|---|
"""


def write_attribution(data: Path, out: Path) -> Path:
    """Write ATTRIBUTION.md for a corpus that comes with ``manifest.csv`` and ``licences.json``.

    Args:
        data: folder with both: the manifest has columns source_repo, commit, licence and seconds; the licences map a
            source to a list of {part, licence, evidence}.
        out: file to write.

    Raises:
        ValueError: one of the two is missing.
    """
    manifest, licences = data / "manifest.csv", data / "licences.json"
    if not manifest.is_file() or not licences.is_file():
        raise ValueError(f"{data} needs manifest.csv and licences.json to write an attribution from.")
    sources: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with manifest.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sources[row["source_repo"], row["commit"], row["licence"]].append(float(row["seconds"]))
    lines = [
        f"| [{source}](https://github.com/{source}) | `{commit[:12]}` | {licence} | {len(seconds)} "
        f"| {sum(seconds) / 60:.1f} |"
        for (source, commit, licence), seconds in sorted(sources.items())
    ]
    evidence = json.loads(licences.read_text(encoding="utf-8"))
    used = {source for source, _, _ in sources}
    notes = [
        f"- **{source}** ({part['part']}): {part['licence']}. {part['evidence']}"
        for source, parts in sorted(evidence.items())
        if source in used
        for part in parts
    ]
    text = HEADER + "\n".join(lines) + "\n\n## Where each licence is stated\n\n" + "\n".join(notes) + "\n"
    out.write_text(text, encoding="utf-8")
    return out
