"""The sources of a training corpus and their licences -> ATTRIBUTION.md beside the weights."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import quote

from aasp_features.train.errors import TrainError
from aasp_features.train.release.manifest import Sound, read_manifest, table, total_seconds

ATTRIBUTION_FILE = "ATTRIBUTION.md"
LICENCES_FILE = "licences.json"
WEB = ("https://", "http://")
HEADER = """# Attribution of the training audio

The weights beside this file were trained on recordings from the sources below. The recordings are not part of this
package. Each keeps its own licence; nothing here relicenses them.

"""


def write_attribution(data: Path, out: Path, host: str | None = None) -> Path:
    """Write ATTRIBUTION.md for a corpus with a manifest (``read_manifest``) that names its sounds' sources.

    Args:
        data: the manifest, or the folder that holds it; ``licences.json`` beside it, if there is one, maps a source to
            a list of {part, licence, evidence}.
        out: file to write.
        host: site on which sources that are neither URLs nor have one are paths, such as ``https://github.com``;
            without it they stay text.

    Raises:
        TrainError: no manifest, or no sources in it; licences that cannot be read.
    """
    sounds = read_manifest(data)
    if not all(sound.source for sound in sounds):
        raise TrainError(f"{data}: an attribution needs a manifest with a source (or source_repo) in every row.")
    evidence = (data if data.is_dir() else data.parent) / LICENCES_FILE
    text = HEADER + _sources(sounds, host) + "\n"
    if evidence.is_file() and (notes := _notes(evidence, {sound.source for sound in sounds})):
        text += "\n## Where each licence is stated\n\n" + "\n".join(notes) + "\n"
    out.write_text(text, encoding="utf-8")
    return out


def source_link(source: str, url: str, host: str | None) -> str:
    """A source in Markdown: a link where its URL is known or follows from the host, else its name."""
    if not url and source.startswith(WEB):
        return f"<{_quoted(source)}>"
    if not url and host:
        url = f"{host.rstrip('/')}/{source.lstrip('/')}"
        url = url if url.startswith(WEB) else f"https://{url}"
    return f"[{source}]({_quoted(url)})" if url.startswith(WEB) else source


def _quoted(url: str) -> str:
    return quote(url, safe="%/:?#[]@!$&'*+,;=~")


def _sources(sounds: Sequence[Sound], host: str | None) -> str:
    """A row for each source, commit and licence; columns of which the manifest tells nothing are left out."""
    groups: dict[tuple[str, str, str, str], list[Sound]] = defaultdict(list)
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
            f"{path}: licences map each source to a list of objects with part, licence and evidence ({error!r})."
        ) from error
