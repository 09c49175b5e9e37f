"""Files of a classifier that were damaged, mixed up, or are those of an encoder alone: one sentence each."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from aasp_features import AaSPClassifier, AaSPEncoder, CheckpointError
from aasp_features.classifier_file import StoredClassifier, check_labels, read_classifier, save_classifier
from aasp_features.weights_file import sha256

WIDTH = 1536


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A classifier of two classes."""
    copied = Path(shutil.copytree(checkpoint, tmp_path / "classifier"))
    torch.manual_seed(0)
    save_classifier(copied, StoredClassifier(("a", "é"), False, torch.randn(2, WIDTH), torch.randn(2)))
    return copied


def read(folder: Path) -> StoredClassifier:
    return read_classifier(folder, "it", WIDTH, sha256(folder / "model.safetensors"))


def test_round_trip(folder: Path) -> None:
    torch.manual_seed(0)
    stored = read(folder)
    assert (stored.labels, stored.several) == (("a", "é"), False)
    assert torch.equal(stored.weight, torch.randn(2, WIDTH))
    assert torch.equal(stored.bias, torch.randn(2))
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "classifier.json",
        "classifier.safetensors",
        "config.json",
        "model.safetensors",
    ]


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
        edit(head_sha256=sha256(path))(folder)

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
        (write_json(b'{"labels": NaN}'), "NaN is no number"),
        (write_json(b"\xff"), "not UTF-8"),
        (write_json(b"[" * 100_000), "is not valid JSON"),
        (write_json(b" " * (2**24 + 1)), "longer than the"),
        (write_json(b"[]"), "is not of a classifier"),
        (edit(model_type="aasp"), "is not of a classifier"),
        (edit(format=3), "has format '3', and 2 is read; update the package, or make"),
        (edit(format=True), "has format 'True'"),
        (edit(colour="red"), "unknown key 'colour'"),
        (edit(labels="gone"), "no key 'labels'"),
        (edit(labels="ab"), "a list of names"),
        (edit(labels=["a", 7]), "printable"),
        (edit(labels=["a", "a"]), "twice"),
        (edit(labels=["a"]), "2 or more"),
        (
            edit(labels=["a", "b", "c"]),
            r"where 3 labels and vectors of 1536 numbers need bias \(3,\), weight \(3, 1536\)",
        ),
        (edit(several=1), "several is true or false"),
        (edit(sealed=False, labels=["é", "a"]), "classifier.json was changed after it was saved"),
        (edit(sealed=False, several=True), "classifier.json was changed after it was saved"),
        (edit(sealed=False, sha256="gone"), "no key 'sha256'"),
        (edit(sealed=False, sha256=7), "classifier.json was changed after it was saved"),
        (edit(encoder_sha256="0" * 64), "is of another encoder"),
        (edit(head_sha256="0" * 64), "is not the one that"),
        (head(lambda tensors: {"weight": tensors["weight"]}), r"holds weight \(2, 1536\), where"),
        (head(lambda tensors: {**tensors, "more": torch.zeros(1)}), "more"),
        (head(lambda tensors: {**tensors, "weight": tensors["weight"].T.contiguous()}), r"\(1536, 2\)"),
        (head(lambda tensors: {**tensors, "bias": torch.tensor([0, torch.nan])}), "NaN or infinite numbers in bias"),
        (head(lambda tensors: {**tensors, "weight": tensors["weight"] * 1e37}), "its scores would be infinite"),
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
        read(folder)


def test_no_numbers_are_not_saved(folder: Path) -> None:
    before = (folder / "classifier.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="bias holds NaN"):
        save_classifier(folder, StoredClassifier(("a", "b"), False, torch.zeros(2, 3), torch.tensor([0, torch.inf])))
    with pytest.raises(CheckpointError, match="its scores would be infinite"):
        save_classifier(folder, StoredClassifier(("a", "b"), False, torch.full((2, 3), 1e38), torch.zeros(2)))
    assert (folder / "classifier.safetensors").read_bytes() == before
    with pytest.raises(CheckpointError, match="could not be written"):
        save_classifier(folder / "gone", StoredClassifier(("a", "b"), False, torch.zeros(2, 3), torch.zeros(2)))


def test_labels() -> None:
    assert check_labels(["a", "b"], False) == ("a", "b")
    assert check_labels(["a"], True) == ("a",)
