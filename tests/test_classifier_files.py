"""Files of a classifier that were damaged, or that may not be written."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from aasp_features import AaSPClassifier, AaSPEncoder, CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:this encoder's weights are random")


@pytest.fixture(scope="module")
def saved(small_encoder: AaSPEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    classifier = AaSPClassifier(small_encoder, ("a", "é"), nn.Linear(small_encoder.embedding_dim, 2))
    return classifier.save_pretrained(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "classifier"))


def edit(sealed: bool = True, **changes: object) -> Callable[[Path], None]:
    """Other values; the checksum of them all is made again, as whoever means harm would, unless ``sealed`` is false."""

    def write(folder: Path) -> None:
        values = json.loads((folder / "classifier.json").read_text())
        kept = {key: value for key, value in {**values, **changes}.items() if value != "gone"}
        if sealed:
            rest = json.dumps({key: value for key, value in kept.items() if key != "sha256"}, sort_keys=True)
            kept["sha256"] = hashlib.sha256(rest.encode()).hexdigest()
        (folder / "classifier.json").write_text(json.dumps(kept))

    return write


def write_json(text: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "classifier.json").write_bytes(text)


def head(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "classifier.safetensors"
        path.write_bytes(save(change(load(path.read_bytes()))))
        edit(head_sha256=hashlib.sha256(path.read_bytes()).hexdigest())(folder)

    return write


def claim_much(folder: Path) -> None:
    """A head of four tebibytes, by its header alone."""
    shape = [2**20, 2**20]
    header = json.dumps({"weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, 2**42]}}).encode()
    (folder / "classifier.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "classifier.json").unlink(), "an encoder alone; aasp-train classify makes"),
        (lambda folder: (folder / "classifier.safetensors").unlink(), "no classifier.safetensors"),
        (write_json(b"{"), "is not valid JSON"),
        (write_json(b" " * (2**24 + 1)), "longer than the"),
        (write_json(b"[]"), "is not of a classifier"),
        (edit(model_type="aasp"), "is not of a classifier"),
        (edit(format=2), "not of a classifier of format 4; update the package, or make"),
        (edit(labels="gone"), "has no 'labels' that can be read"),
        (edit(labels="ab"), "has no 'labels' that can be read"),
        (edit(labels=["a", 7]), "printable"),
        (edit(labels=["a"]), "2 or more"),
        (
            edit(labels=["a", "b", "c"], thresholds=[0.5, 0.5, 0.5]),
            r"no head for 3 labels and vectors of 384 numbers; it needs weight \(3, 384\) and bias \(3,\)",
        ),
        (edit(thresholds=[0.5]), "2 labels need 2 thresholds, got 1"),
        (edit(thresholds=[0.5, 2]), "threshold must be a probability"),
        (edit(min_probability="few"), "has no 'min_probability' that can be read"),
        (edit(min_probability=-1.0), "min_probability must be a probability above 0 and at most 1, got -1.0"),
        (edit(multi_label=1), "has no 'multi_label' that can be read"),
        (edit(sealed=False, labels=["é", "a"]), "classifier.json was changed after it was saved"),
        (edit(sealed=False, multi_label=True), "classifier.json was changed after it was saved"),
        (edit(sealed=False, sha256="gone"), "classifier.json was changed after it was saved"),
        (edit(encoder_sha256="0" * 64), "is of another encoder"),
        (edit(head_sha256="0" * 64), "is not the one that"),
        (head(lambda tensors: {"weight": tensors["weight"]}), "no head for 2 labels"),
        (head(lambda tensors: {**tensors, "more": torch.zeros(1)}), "no head for 2 labels"),
        (head(lambda tensors: {**tensors, "weight": tensors["weight"].T.contiguous()}), "no head for 2 labels"),
        (head(lambda tensors: {**tensors, "bias": torch.tensor([0, torch.nan])}), "NaN or infinite numbers in bias"),
        (head(lambda tensors: {**tensors, "weight": tensors["weight"] * 1e37}), "scores would be infinite"),
        (lambda folder: (folder / "classifier.safetensors").write_bytes(b"short"), "is damaged"),
        (claim_much, "is damaged"),
    ],
)
def test_damage_is_a_sentence(folder: Path, damage: Callable[[Path], None], sentence: str) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        AaSPClassifier.from_pretrained(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_an_encoder_saved_over_it_is_noticed(folder: Path) -> None:
    """The old head would say something of the new vectors, and nobody would see that it is nonsense."""
    encoder = AaSPEncoder.from_pretrained(folder)
    encoder.network.cls += 1
    encoder.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="is of another encoder than"):
        AaSPClassifier.from_pretrained(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e38])
def test_no_numbers_are_not_saved(small_encoder: AaSPEncoder, folder: Path, value: float) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    head = nn.Linear(small_encoder.embedding_dim, 2)
    nn.init.constant_(head.weight, value)
    with pytest.raises(CheckpointError, match="scores would be infinite"):
        AaSPClassifier(small_encoder, ("a", "b"), head).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
