"""ATTRIBUTION.md, the sources of a training corpus and their licences, written beside the weights."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import quote

from aasp_features.train.errors import TrainError
from aasp_features.train.release.manifest import ManifestRow, read_manifest, table, total_seconds

ATTRIBUTION_FILE = "ATTRIBUTION.md"
LICENCES_FILE = "licences.json"
WEB = ("https://", "http://")
HEADER = """# Attribution of the training audio

The weights beside this file were trained on recordings from the sources below. The recordings are not part of this
package. Each keeps its own licence; nothing here relicenses them.

"""


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
    out.write_text(text, encoding="utf-8")
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
    return table(told, [[row[column] for column in told] for row in rows])


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
