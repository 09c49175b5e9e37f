"""The sources of a corpus: its manifest.csv, and ATTRIBUTION.md beside the weights that were trained on it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from aasp_features.sounds.lists import read_bounded
from aasp_features.train import markdown
from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import write_whole

ATTRIBUTION_FILE = "ATTRIBUTION.md"
LICENCES_FILE = "licences.json"
WEB = ("https://", "http://")
HEADER = """# Attribution of the training audio

The weights beside this file were trained on recordings from the sources below. The recordings are not part of this
package. Each keeps its own licence; nothing here relicenses them.

"""
MANIFEST_FILE = "manifest.csv"
COLUMNS = {
    "source": ("source", "source_repo"),
    "url": ("url",),
    "commit": ("commit",),
    "licence": ("licence", "license"),
    "seconds": ("seconds",),
}


class ManifestRow(NamedTuple):
    """A row of the manifest; missing values are empty or None.

    Attributes:
        source: Origin of the sound, a URL or a name.
        url: URL of the source, from a column of its own.
        commit: Version of the source.
        licence: Licence of the sound.
        seconds: Length of the sound.
    """

    source: str
    url: str
    commit: str
    licence: str
    seconds: float | None


def manifest_file(location: Path) -> Path:
    """Return the manifest at a path, or in a folder."""
    return location / MANIFEST_FILE if location.is_dir() else location


def read_manifest(location: Path) -> list[ManifestRow]:
    """Read a manifest: CSV with any of the columns in ``COLUMNS``; others are ignored.

    Args:
        location: The file, or the folder of ``manifest.csv``.

    Raises:
        TrainError: There is no manifest, it has no rows or none of these columns, or a length is not a number.
    """
    path = manifest_file(location)
    if not path.is_file():
        raise TrainError(f"{path} does not exist; give a CSV file, or a folder with {MANIFEST_FILE}.")
    try:
        reader = csv.DictReader(io.StringIO(read_bounded(path).decode("utf-8-sig"), newline=""))
        header = reader.fieldnames or []
        named = {key: next((name for name in names if name in header), "") for key, names in COLUMNS.items()}
        rows = [{key: (row.get(name) or "").strip() for key, name in named.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrainError(f"{path} is not UTF-8 CSV ({error}).") from error
    if not rows or not any(named.values()):
        raise TrainError(f"{path} needs rows, and a column of source, url, commit, licence or seconds.")
    seconds = [_seconds(row.pop("seconds"), f"{path}, row {number}") for number, row in enumerate(rows, start=1)]
    return [ManifestRow(**row, seconds=length) for row, length in zip(rows, seconds, strict=True)]


def _seconds(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise TrainError(f"{where}: seconds must be a number of at least 0, got {text!r}.")
    return seconds


def total_seconds(sounds: Sequence[ManifestRow]) -> float | None:
    """Return the total length of the sounds, or None if one is unknown."""
    told = [sound.seconds for sound in sounds if sound.seconds is not None]
    return sum(told) if len(told) == len(sounds) else None


def duration(seconds: float) -> str:
    """Format seconds as hours, minutes or seconds."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"


def write_attribution(data: Path, out: Path, host: str | None = None) -> Path:
    """Write ATTRIBUTION.md for a corpus whose manifest (``read_manifest``) names its sources.

    Args:
        data: Manifest, or its folder; an optional ``licences.json`` beside it maps a source to a list of {part,
            licence, evidence}.
        out: File to write.
        host: Site of the sources that are paths, such as ``https://github.com``; without it they are not linked.

    Raises:
        TrainError: The manifest is missing or names no sources, or the licences cannot be read.
    """
    sounds = read_manifest(data)
    if not all(sound.source for sound in sounds):
        raise TrainError(f"{data}: every row of the manifest needs a source (or source_repo) for the attribution.")
    evidence = (data if data.is_dir() else data.parent) / LICENCES_FILE
    text = HEADER + _sources(sounds, host) + "\n"
    if evidence.is_file() and (notes := _notes(evidence, {sound.source for sound in sounds})):
        text += "\n## Where each licence is stated\n\n" + "\n".join(notes) + "\n"
    write_whole(out, text)
    return out


def source_link(source: str, url: str, host: str | None) -> str:
    """Return a source in Markdown, linked if its URL is known or follows from the host."""
    if not url and source.startswith(WEB):
        return f"<{_quoted(source)}>"
    if not url and host:
        url = f"{host.rstrip('/')}/{source.lstrip('/')}"
        url = url if url.startswith(WEB) else f"https://{url}"
    return f"[{source}]({_quoted(url)})" if url.startswith(WEB) else source


def _quoted(url: str) -> str:
    return quote(url, safe="%/:?#[]@!$&'*+,;=~")


def _sources(sounds: Sequence[ManifestRow], host: str | None) -> str:
    groups: dict[tuple[str, str, str, str], list[ManifestRow]] = defaultdict(list)
    for sound in sounds:
        groups[sound.source, sound.commit, sound.licence, sound.url].append(sound)
    rows = []
    for (source, commit, licence, url), members in sorted(groups.items()):
        seconds = total_seconds(members)
        rows.append(
            {
                "source": source_link(source, url, host),
                "commit": f"`{commit[:12]}`" if commit else "",
                "licence of the recordings": licence,
                "clips": str(len(members)),
                "minutes": "" if seconds is None else f"{seconds / 60:.1f}",
            }
        )
    told = [column for column in rows[0] if any(row[column] for row in rows)]
    return markdown.table([told, *([row[column] for column in told] for row in rows)])


def _notes(path: Path, used: Collection[str]) -> list[str]:
    try:
        return [
            f"- **{source}** ({part['part']}): {part['licence']}. {part['evidence']}"
            for source, parts in sorted(json.loads(path.read_text(encoding="utf-8")).items())
            if source in used
            for part in parts
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainError(
            f"{path} must map each source to a list of objects with part, licence and evidence ({error!r})."
        ) from error
