"""Damaged checkpoints: headers that lie, offsets that overlap, files cut off, bits flipped, configs of hostile values.

What loads must be what safetensors and json read there. A flipped bit of a weight is another, legitimate weight: only a
hash tells it, which the bundled checkpoints and the Hub's large files have, and a folder has not.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from aasp_features import AaSPClassifier, AaSPConfig, AaSPEncoder
from aasp_features.config import FORMER_KEYS

CONFIG = AaSPConfig(dim=8, heads=2, depth=2, mlp_ratio=1, states=2, lambda_hidden=4, window=8, context=1, name="fuzzed")
NUMBERS = [0, -1, 1, 2, 3, 7, 16, 4096, 2**31, 2**63, 10**400, 0.5, -0.0, 1e-9, 1e30, 1e308, float("nan"), float("inf")]
OTHERS = [
    True,
    False,
    None,
    "",
    "mean",
    "a" * 10_000,
    "\x00\n",
    "\ud800",
    [],
    {},
    [[[[]]]],
    [1] * 1000,
    {"a": {"a": 1}},
]
SOUND = (np.random.default_rng(0).normal(size=3000) * 0.1).astype(np.float32)
Files = dict[str, bytes]


@functools.cache
def intact(half: bool) -> Files:
    """A small checkpoint's two files."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        saved = AaSPEncoder(CONFIG).save_pretrained(folder, half=half)
        return {name: (saved / name).read_bytes() for name in ("config.json", "model.safetensors")}


def hostile(rng: np.random.Generator) -> object:
    values = NUMBERS if rng.random() < 0.6 else OTHERS
    return values[rng.integers(len(values))]


def edited_config(rng: np.random.Generator, files: Files) -> None:
    values = json.loads(files["config.json"])
    for _ in range(int(rng.integers(1, 3))):
        name = list(values)[rng.integers(len(values))]
        fate = rng.random()
        if fate < 0.8:
            values[name] = hostile(rng)
        elif fate < 0.9:
            del values[name]
        else:
            values[f"{name}{rng.choice(['', 's', chr(0)])}"] = hostile(rng)
        if not values:
            break
    files["config.json"] = json.dumps(values).encode()


def garbled_config(rng: np.random.Generator, files: Files) -> None:
    text = files["config.json"]
    depth = int(rng.integers(1, 30_000))
    line = text.splitlines()[rng.integers(len(text.splitlines()))]
    fates = [b"[" * depth, b'{"a":' * depth, text.replace(b"\n", b"\n" + line + b"\n", 1), text + b" " * 200_000, b""]
    fates += [
        text.replace(b"192", b"9" * depth),
        text.replace(b"8", b"9" * 5000, 1),
        flipped(rng, text),
        cut(rng, text),
    ]
    files["config.json"] = fates[rng.integers(len(fates))]


def edited_header(rng: np.random.Generator, files: Files) -> None:
    """One or two tensors' entries are changed; the data stay."""
    data = files["model.safetensors"]
    length = int.from_bytes(data[:8], "little")
    header, data = json.loads(data[8 : 8 + length]), data[8 + length :]
    for _ in range(int(rng.integers(1, 3))):
        names = list(header)
        name, other = (names[rng.integers(len(names))] for _ in range(2))
        entry = header[name]
        field = ["dtype", "shape", "data_offsets", "colour"][rng.integers(4)]
        fate = rng.random()
        if not isinstance(entry, dict) or fate < 0.1:
            header[name] = hostile(rng)
        elif fate < 0.3 and field in entry and isinstance(entry[field], list) and entry[field]:
            entry[field][rng.integers(len(entry[field]))] = hostile(rng)
        elif fate < 0.5 and isinstance(header[other], dict):
            entry[field] = header[other].get(field)
        elif fate < 0.6:
            entry["dtype"] = str(rng.choice(["F64", "F32", "F16", "BF16", "I8", "U8", "BOOL", "F8_E4M3", "f32", "C64"]))
        elif fate < 0.7:
            header[f"{name}2"] = header.pop(name)
        elif fate < 0.8:
            header[name], header[other] = header[other], header[name]
        elif fate < 0.9:
            del header[name]
        else:
            entry[field] = hostile(rng)
    text = json.dumps(header).encode()
    files["model.safetensors"] = len(text).to_bytes(8, "little") + text + data


def garbled_weights(rng: np.random.Generator, files: Files) -> None:
    data = files["model.safetensors"]
    sizes = [0, 1, 2**20, 2**31, 2**63, 2**64 - 1, len(data), len(data) - 8]
    size = sizes[rng.integers(len(sizes))]
    header = 8 + int.from_bytes(data[:8], "little")
    fates = [cut(rng, data), data + rng.bytes(int(rng.integers(1, 99))), size.to_bytes(8, "little") + data[8:], b""]
    fates += [flipped(rng, data[:header]) + data[header:], data[:header] + flipped(rng, data[header:]), data * 2]
    files["model.safetensors"] = fates[rng.integers(len(fates))]


def flipped(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: rng.integers(len(data))]


DAMAGES: list[Callable[[np.random.Generator, Files], None]] = [
    edited_config,
    garbled_config,
    edited_header,
    garbled_weights,
]


def loads(folder: Path, files: Files) -> None:
    """Load and embed; what was loaded is what json and safetensors read in the files. AaSPErrors pass."""
    encoder = AaSPEncoder.from_pretrained(folder)
    assert np.isfinite(encoder.embed(SOUND)).all()
    values = {FORMER_KEYS.get(key, key): value for key, value in json.loads(files["config.json"]).items()}
    assert all(getattr(encoder.config, key) == values[key] for key in vars(CONFIG))
    expected, given = load(files["model.safetensors"]), encoder.network.state_dict()
    assert expected.keys() == given.keys()
    assert all(torch.equal(given[key], value.float()) for key, value in expected.items())


def damaged(rng: np.random.Generator, folder: Path) -> Files:
    """A checkpoint's files in a folder, one of them damaged."""
    files = dict(intact(half=bool(rng.random() < 0.5)))
    DAMAGES[rng.integers(len(DAMAGES))](rng, files)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


@functools.cache
def intact_classifier() -> Files:
    """All files of a small classifier."""
    torch.manual_seed(0)
    encoder = AaSPEncoder(CONFIG)
    head = nn.Linear(encoder.embedding_dim, 3)
    with tempfile.TemporaryDirectory() as folder:
        saved = AaSPClassifier(encoder, ("rain", "bell", "voice"), head).save_pretrained(folder)
        return {path.name: path.read_bytes() for path in saved.iterdir()}


def garbled_classifier(rng: np.random.Generator, folder: Path) -> Files:
    """A classifier's files in a folder; its names or its head are edited, cut or garbled, or nothing is."""
    files = dict(intact_classifier())
    values = json.loads(files["classifier.json"])
    key = list(values)[rng.integers(len(values))]
    texts = {
        "hostile": json.dumps({**values, key: hostile(rng)}).encode(),
        "swapped": json.dumps({**values, "labels": values["labels"][::-1]}).encode(),
        "several": json.dumps({**values, "several": True}).encode(),
        "flipped": flipped(rng, files["classifier.json"]),
        "cut": cut(rng, files["classifier.json"]),
    }
    head = load(files["classifier.safetensors"])
    scaled = save({name: value * float(rng.choice([1e10, 1e38, -1.0])) for name, value in head.items()})
    heads = [scaled, flipped(rng, files["classifier.safetensors"]), cut(rng, files["classifier.safetensors"])]
    fate = rng.random()
    if fate < 0.6:
        files["classifier.json"] = list(texts.values())[rng.integers(len(texts))]
    elif fate < 0.9:
        files["classifier.safetensors"] = heads[rng.integers(len(heads))]
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


def names(folder: Path, files: Files) -> None:
    """Load and predict; whatever loads is the classifier that was saved, value by value. AaSPErrors pass."""
    classifier = AaSPClassifier.from_pretrained(folder)
    assert json.loads(files["classifier.json"]) == json.loads(intact_classifier()["classifier.json"])
    assert files["classifier.safetensors"] == intact_classifier()["classifier.safetensors"]
    assert [one.label for one in classifier.predict(SOUND)]
