"""Cards: facts of the run and the manifest, the author's words, and nothing else."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.train.release.attribution import ManifestRow
from aasp_features.train.release.card import (
    FIELDS,
    TEMPLATE,
    Author,
    Sources,
    card_fields,
    card_text,
    describe_config,
    describe_encoder,
    describe_patch_embedding,
    fill,
)
from aasp_features.train.release.run_summary import RunSummary, describe
from aasp_features.train.run.folder import read_metrics

ONE_CORPUS = ["English", "game", "Opus, 32", "CC BY", "GPL", "apache", "Apache", "hours", "github"]


def written(run: Path, author: Author | None = None, **sources: object) -> str:
    summary = describe([run])
    return card_text(summary.config, Sources(summary, **sources), author)


@pytest.mark.parametrize(
    ("kind", "told", "untold"),
    [
        (
            "aape",
            ["aliasing-aware", "aape: 4 states, even kernel, moduli", "| omega hz mean |"],
            ["lowpass", "low-passed"],
        ),
        ("conv", ["plain patches", "conv: a linear map"], ["kernel", "states", "aliasing", "omega", "cutoff", "taps"]),
        ("lowpass", ["low-passed", "above 2.5 Hz", "(49 taps)"], ["kernel", "states", "aliasing", "omega"]),
    ],
)
def test_a_card_tells_its_own_run(runs: dict[str, Path], kind: str, told: list[str], untold: list[str]) -> None:
    card = written(runs[kind], metrics=read_metrics(runs[kind]))
    assert [words for words in told if words not in card] == []
    assert [words for words in [*untold, *ONE_CORPUS] if words in card] == []
    assert "crops of at most 1.28 s" in card
    assert "## Results" not in card
    assert "## Sound" not in card
    assert "No licence is stated for the weights." in card


@pytest.mark.parametrize("licence", ["", "Apache-2.0", "cc-by-nc-4.0"])
def test_the_hub_reads_the_front_matter(runs: dict[str, Path], licence: str) -> None:
    text = written(runs["conv"], Author(licence))
    head = yaml.safe_load(text.split("---\n")[1])
    assert head == ModelCard(text).data.to_dict()
    assert head.get("license") == (licence.lower() or None)
    assert (head["library_name"], head["pipeline_tag"]) == ("aasp-features", "feature-extraction")
    assert "self-supervised" in head["tags"]
    assert (f"released under {licence}." in text) == bool(licence)


def test_a_licence_is_one_word() -> None:
    with pytest.raises(ValueError, match=r"one identifier, such as apache-2.0, cc-by-4.0 or other; got 'my terms'"):
        Author("my terms")


def test_losses_are_those_of_the_metrics(runs: dict[str, Path]) -> None:
    run = runs["conv"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    card = written(run, metrics=read_metrics(run))
    rows = [row.strip("| ").split(" | ") for row in card.splitlines() if row.startswith("| loss ")]
    assert [row[0] for row in rows] == [name.replace("_", " ") for name in lines[-1] if name.startswith("loss_")]
    for name, *values in rows:
        assert values == [f"{lines[place][name.replace(' ', '_')]:.3f}" for place in (0, 3, 5)]


def test_a_single_line_of_metrics_is_told_once(runs: dict[str, Path]) -> None:
    assert "| | step 1 |\n|---|---|\n" in written(runs["conv"], metrics=read_metrics(runs["conv"])[:1])


def test_the_manifest_is_counted(runs: dict[str, Path]) -> None:
    sounds = [
        ManifestRow("a", "", "", "CC0", 60.0),
        ManifestRow("b", "", "", "CC0", 30.0),
        ManifestRow("b", "", "", "", 7170.0),
    ]
    card = written(runs["conv"], sounds=sounds)
    assert "lists 3 recordings, 2.0 hours, from 2 sources.\n" in card
    assert "|---|---|---|\n| not stated | 1 | 119.5 |\n| CC0 | 2 | 1.5 |\n" in card
    assert "keep their own licences: see `ATTRIBUTION.md`." in card
    untimed = written(runs["conv"], sounds=[sound._replace(seconds=None, source="") for sound in sounds])
    assert "lists 3 recordings.\n" in untimed
    assert "|---|---|\n| not stated | 1 |\n| CC0 | 2 |\n" in untimed
    assert "ATTRIBUTION" not in untimed
    bare = written(runs["conv"], sounds=[ManifestRow("", "", "", "", 3.0)])
    assert "lists 1 recordings, 3.0 seconds.\n" in bare
    assert "own licences" not in bare


def test_teachers_and_earlier_runs(runs: dict[str, Path]) -> None:
    first = describe([runs["conv"]])._replace(start_from="org/first", paragraph="The run before.")
    teacher = {"name": "ears", "source": "x.org", "licence": "MIT", "labels": "birds | bats"}
    last = describe([runs["conv"]])._replace(teachers=[teacher], learns_masked=False)
    card = card_text(last.config, Sources(last, earlier=[first]))
    assert "distilled from other networks (ears), starting from the weights of `org/first`." in card
    assert "without labels" not in card
    assert "| ears | x.org | MIT | birds \\| bats |" in card
    assert card.index("Earlier: The run before.") < card.index(last.paragraph)
    assert "distillation" in ModelCard(card).data.tags


def test_the_authors_words(runs: dict[str, Path]) -> None:
    card = written(runs["conv"], Author(results="| $5 |\n", limits="- Bats only.\n"))
    assert "## Results\n\n| $5 |\n\n## Limits\n" in card
    assert "without their consent.\n- Bats only.\n\n## Licence\n" in card
    assert "lossily coded" not in card
    assert "does not say whether the training audio was lossily coded" in written(runs["conv"])


def test_a_template_of_the_users(runs: dict[str, Path]) -> None:
    author = Author(
        template="# $name for $$0\n\n## Bats\n\nOnly ${dimensions} numbers.\n\n## Tables\n\n$results\n", licence="mit"
    )
    assert written(runs["conv"], author) == "# aasp-untrained for $0\n\n## Bats\n\nOnly 256 numbers.\n"


def test_every_field_is_documented_and_in_the_default_template(runs: dict[str, Path]) -> None:
    summary: RunSummary = describe([runs["conv"]])
    assert list(card_fields(summary.config, Sources(summary), Author())) == list(FIELDS)
    assert all(f"${name}" in TEMPLATE.read_text() for name in FIELDS)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("# $nmae\n", r"the template names \$nmae; the fields are metadata, name, method, "),
        ("## A\n\n${colour}\n", r"the template names \$colour; the fields are "),
        ("# It costs $5\n", r"a \$ without a name .*; write \$\$ for a dollar sign"),
    ],
)
def test_a_wrong_template(runs: dict[str, Path], template: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        written(runs["conv"], Author(template=template))


def test_empty_lines_and_sections_go() -> None:
    template = "# T\n\n$a\n\n$b\n\n## One\n\n$a\n\n## Two\n\nWords.\n\n$a\n\n## Three\n\n$a $b\n"
    assert fill(template, {"a": "", "b": "B"}) == "# T\n\nB\n\n## Two\n\nWords.\n\n## Three\n\n B\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"states": 8, "kernel": "one_sided", "features": "complex"},
            "aape: 8 states, one_sided kernel, complex values",
        ),
        ({}, "aape: 16 states, quadrature kernel, complex values and moduli"),
        ({"patch_embed": "conv"}, "conv: a linear map of each 16 x 16 patch"),
        (
            {"patch_embed": "lowpass", "lowpass_cutoff": 2.5, "lowpass_taps": 49},
            "lowpass: modulations above 2.5 Hz removed along time (49 taps), then a linear map of each 16 x 16 patch",
        ),
    ],
)
def test_each_patch_embedding_is_told_by_what_it_has(changes: dict[str, object], words: str) -> None:
    assert describe_patch_embedding(AaSPConfig.tiny(**changes)) == words


def test_an_encoder_adds_what_only_it_knows(small_encoder: AaSPEncoder) -> None:
    facts = describe_encoder(small_encoder, seconds=0.5)
    assert list(facts) == ["name", "sha256", *describe_config(small_encoder.config), "speed here"]
    count = sum(value.numel() for value in small_encoder.network.state_dict().values()) / 1e6
    assert facts["network"] == f"2 blocks, 48 wide, 3 heads, {count:.1f} M parameters"
