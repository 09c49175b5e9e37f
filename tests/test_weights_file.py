"""Headers of weights, against safetensors' own reader: what it refuses is refused, what is read is what it reads."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save, save_file

from aasp_features import CheckpointError
from aasp_features.weights_file import read_shapes, read_weights, sha256

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(5).half(), "c": torch.zeros(1, 2, 3).bfloat16()}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights") / "model.safetensors"


def parts(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: object, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_shapes_and_values(path: Path) -> None:
    save_file(TENSORS, path, metadata={"format": "pt"})
    assert read_shapes(path, "x") == {"a": (2, 3), "b": (5,), "c": (1, 2, 3)}
    weights = read_weights(path, "x")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    for key, value in TENSORS.items():
        assert torch.equal(weights[key], value.float())


def changed(name: str, value: object) -> Callable[[dict], None]:
    return lambda header: header["b"].update({name: value})


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (changed("dtype", "F64"), "holds tensor 'b' as 'F64'; F16, BF16 and F32 are read"),
        (changed("dtype", "I64"), "F16, BF16 and F32 are read"),
        (changed("dtype", ["F16"]), "F16, BF16 and F32 are read"),
        (changed("dtype", "F32"), "has not the bytes that its shape needs"),
        (changed("shape", [6]), "has not the bytes that its shape needs"),
        (changed("shape", [-5]), "no shape or no place"),
        (changed("shape", [True]), "no shape or no place"),
        (changed("shape", [2**62, 2**62]), "has not the bytes that its shape needs"),
        (changed("shape", [1] * 9), "no shape or no place"),
        (changed("data_offsets", [0, 10]), "does not begin where the one before ends"),
        (changed("data_offsets", [10**9, 10**9 + 10]), "does not begin where the one before ends"),
        (changed("data_offsets", [10, 0]), "has not the bytes"),
        (changed("data_offsets", [1.0, 2.0]), "no shape or no place"),
        (changed("colour", 1), "does not describe tensor 'b'"),
        (lambda header: header.pop("c"), "bytes of tensors, where its header says|does not begin"),
        (lambda header: header.update({"d" * 10**5: 7}), "does not describe tensor 'd{60}'"),
    ],
)
def test_headers_that_lie(path: Path, edit: Callable[[dict], None], sentence: str) -> None:
    header, data = parts(save(TENSORS))
    edit(header)
    path.write_bytes(joined(header, data))
    with pytest.raises(CheckpointError, match=f"x: model.safetensors .*({sentence})"):
        read_shapes(path, "x")


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 100, (5).to_bytes(8, "little") + b"[1,2]", bytes(8)])
def test_no_header(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"x: model.safetensors is damaged \(.*\); download it again\."):
        read_shapes(path, "x")


@given(st.data())
def test_damage_is_seen_wherever_safetensors_sees_it(path: Path, data: st.DataObject) -> None:
    """Bytes changed, cut or added: who reads it, reads what safetensors reads."""
    damaged = bytearray(save(TENSORS))
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = (damaged + data.draw(st.binary(max_size=3)))[: data.draw(st.integers(0, len(damaged) + 3))]
    path.write_bytes(damaged)
    try:
        shapes, weights = read_shapes(path, "x"), read_weights(path, "x")
    except CheckpointError:
        return
    expected = load(bytes(damaged))
    assert shapes == {key: tuple(value.shape) for key, value in expected.items()}
    assert all(torch.equal(weights[key], value.float()) for key, value in expected.items())


def test_numbers_that_are_none(path: Path) -> None:
    save_file({**TENSORS, "b": torch.tensor([1.0, torch.inf]).half()}, path)
    with pytest.raises(CheckpointError, match=r"x: model\.safetensors holds NaN or infinite numbers in b\."):
        read_weights(path, "x")


def test_sha256_of_a_file(path: Path) -> None:
    path.write_bytes(b"a" * 10**6)  # FIPS 180-2's long message
    assert sha256(path) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
