"""The commands ``aasp-train export``, ``card``, ``info``, ``report`` and ``export-onnx``, for runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from aasp_features.config import Pooling
from aasp_features.sounds.lists import read_bounded
from aasp_features.train.errors import TrainError

Mix = Annotated[
    list[str] | None,
    typer.Option(metavar="CHECKPOINT=SHARE", help="Another checkpoint and its share of the weights. Repeatable."),
]


def export(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; the weights of several runs are averaged.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    name: Annotated[str, typer.Option(help="Checkpoint name, aasp-<size>-<corpus>-<n>.")],
    which: Annotated[
        Literal["average", "last"],
        typer.Option(help="The running average of the weights (the EMA teacher), or the last step's weights."),
    ] = "average",
    mix: Mix = None,
    pooling: Annotated[
        Pooling | None,
        typer.Option(help="Default pooling of the checkpoint (default: that of the distillation heads, or frequency)."),
    ] = None,
    last_layers: Annotated[
        int | None, typer.Option(help="Last blocks to average (default: that of the distillation heads, or 1).")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="Markdown file of the card (default: written from the run).")
    ] = None,
) -> None:
    """Export a run's encoder to a checkpoint folder, in float16."""
    from aasp_features.checkpoint import SAVED
    from aasp_features.folder.output import check_unread
    from aasp_features.train.release.export import export_encoder, read_shares

    text, shares = _text(card) if card else None, read_shares(mix or [])
    check_unread([out / name for name in SAVED], [*runs, *map(Path, shares)])
    folder = export_encoder(
        runs, out, name=name, which=which, mix=shares, pooling=pooling, last_layers=last_layers, card=text
    )
    typer.echo(f"wrote {folder}", err=True)


def card(
    runs: Annotated[list[Path], typer.Argument(help="Folders of the exported runs.")],
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder; the card becomes its README.md.")],
    results: Annotated[Path | None, typer.Option(help="Markdown file of results and their commands.")] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, as the Hub names it: apache-2.0, cc-by-4.0.")
    ] = "",
    limits: Annotated[Path | None, typer.Option(help="Markdown file of limits, as a list.")] = None,
    template: Annotated[
        Path | None, typer.Option(help="Markdown file with $names (default: train/release/card.md).")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Manifest of the corpus (manifest.csv), or its folder.")] = None,
    host: Annotated[str | None, typer.Option(help="Site of the manifest's sources, such as github.com.")] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Folder of an earlier run that these runs started from. Repeatable."),
    ] = None,
    mix: Mix = None,
) -> None:
    """Write a checkpoint's card. Write ATTRIBUTION.md, too, if the manifest names sources."""
    from aasp_features.checkpoint import CARD_FILE
    from aasp_features.config import AaSPConfig
    from aasp_features.folder.output import check_unread
    from aasp_features.train.release.attribution import (
        ATTRIBUTION_FILE,
        manifest_file,
        read_manifest,
        write_attribution,
    )
    from aasp_features.train.release.card import TEMPLATE, Author, Sources, card_text
    from aasp_features.train.release.export import read_shares, stored_as
    from aasp_features.train.release.run_summary import describe
    from aasp_features.train.run.folder import METRICS_FILE, read_metrics
    from aasp_features.train.whole_file import write_whole

    own = [path for path in (results, limits, template, data and manifest_file(data)) if path]
    check_unread([checkpoint / CARD_FILE, checkpoint / ATTRIBUTION_FILE], [*runs, *(earlier or []), *own])
    config = AaSPConfig.from_json(_text(checkpoint / "config.json"))
    author = Author(licence, _text(results), _text(limits), _text(template or TEMPLATE))
    sounds = read_manifest(data) if data else []
    metrics = read_metrics(runs[0]) if (runs[0] / METRICS_FILE).is_file() else []
    before = [describe([run]) for run in earlier or []]
    sources = Sources(describe(runs), metrics, before, read_shares(mix or []), sounds, stored_as(checkpoint))
    text = card_text(config, sources, author)
    if data and any(sound.source for sound in sounds):
        write_attribution(data, checkpoint / ATTRIBUTION_FILE, host)
    write_whole(checkpoint / CARD_FILE, text)


def info(
    model: Annotated[
        str | None, typer.Argument(help="Checkpoint folder or Hub name (default: the bundled one).")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Also print the card.")] = False,
) -> None:
    """Print a checkpoint's facts and its speed on this machine.

    The last line names the checkpoints that ship with the package.
    """
    from aasp_features.checkpoint import read_card
    from aasp_features.checkpoints import list_checkpoints
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.train.release.card import describe_encoder

    facts = {**describe_encoder(AaSPEncoder.from_pretrained(model)), "bundled": ", ".join(list_checkpoints())}
    text = read_card(model) if card else ""
    width = max(map(len, facts))
    typer.echo(
        "\n".join([*(f"{name:{width}}  {fact}" for name, fact in facts.items()), *([f"\n{text}"] if card else [])])
    )


def report(
    run: Annotated[Path, typer.Argument(help="Run folder; the run may still be going on.")],
    out: Annotated[Path | None, typer.Option(help="HTML file to write (default: report.html in RUN).")] = None,
) -> None:
    """Write a page on a run. It shows curves, masks, settings, environment and changes."""
    from aasp_features.folder.output import check_unread
    from aasp_features.train.release.run_report import run_report
    from aasp_features.train.run.folder import METRICS_FILE, STATE_FILE
    from aasp_features.train.whole_file import write_whole

    out = out or run / "report.html"
    check_unread([out], [run / METRICS_FILE, run / STATE_FILE])
    write_whole(out, run_report(run))
    typer.echo(f"wrote {out}", err=True)


def export_onnx(
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    model: Annotated[str | None, typer.Option(help="Checkpoint folder or Hub name (default: the bundled one).")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise the weights to 8 bits.")] = False,
) -> None:
    """Export an encoder as an ONNX graph. It maps waveforms to vectors; OnnxEncoder runs it without torch."""
    from aasp_features.encoder import AaSPEncoder
    from aasp_features.folder.output import check_unread
    from aasp_features.train.release.export_onnx import export_onnx as write

    check_unread([out], [Path(model)] if model else [])
    write(AaSPEncoder.from_pretrained(model), out, int8=int8)
    typer.echo(f"wrote {out}", err=True)


def _text(path: Path | None) -> str:
    """Return a file's text, or an empty text for None.

    Raises:
        TrainError: The file cannot be read.
    """
    try:
        return read_bounded(path).decode("utf-8") if path else ""
    except UnicodeDecodeError as error:
        raise TrainError(f"{path} is not UTF-8 text ({error.reason}).") from error
    except OSError as error:
        raise TrainError(f"{path} cannot be read ({error.strerror}).") from error
