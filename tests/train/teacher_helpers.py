"""Small teachers that the tests write to disk, and what their numbers must be."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from aasp_features.train.distillation_settings import CropLength, CropSettings
from aasp_features.train.pretrain.external_teachers import ExternalTeacher, TeacherDescription, read_descriptions
from aasp_features.train.pretrain.teacher_features import TeacherFeatures

CROPS = CropSettings(lengths=[CropLength(2, 0.7), CropLength(4, 0.3)])

CODE = '''"""Levels of eight slices of the spectrum, in dB."""
import numpy as np


def load(files):
    def levels(waveform):
        power = np.abs(np.fft.rfft(waveform, 512)) ** 2
        return np.log10(power[:, :256].reshape(len(waveform), 8, 32).mean(axis=2) + 1e-6).astype(np.float32)

    return levels
'''


def write_description(folder: Path, name: str, /, **changes: object) -> Path:
    """NAME.yaml with ``changes``."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"name": name, "source": "a test", "licence": "CC0", "labels": "none", **changes}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def write_callable(folder: Path, name: str = "levels", code: str = CODE, **changes: object) -> Path:
    """A teacher in Python; returns its description's path."""
    path = write_description(folder, name, callable=f"{name}_code.py:load", **changes)
    (folder / f"{name}_code.py").write_text(code)
    return path


def write_graph(folder: Path, name: str = "peaks", **changes: object) -> Path:
    """A teacher as an ONNX graph: largest and mean absolute sample; returns its description's path."""
    from onnx import TensorProto, checker, helper, save

    folder.mkdir(parents=True, exist_ok=True)
    nodes = [
        helper.make_node("Abs", ["waveform"], ["size"]),
        helper.make_node("ReduceMax", ["size"], ["largest"], axes=[1], keepdims=1),
        helper.make_node("ReduceMean", ["size"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["largest", "mean"], ["features"], axis=1),
    ]
    given = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])
    made = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, name, [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, folder / f"{name}.onnx")
    sha256 = hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest()
    return write_description(folder, name, **{"files": {f"{name}.onnx": sha256}, **changes})


def peaks(waveform: np.ndarray) -> np.ndarray:
    """What the graph of ``write_graph`` computes."""
    size = np.abs(waveform)
    return np.stack([size.max(axis=1), size.mean(axis=1)], axis=1)


def description(path: Path) -> TeacherDescription:
    """The one in this file."""
    return read_descriptions([path])[0]


def teacher(path: Path) -> ExternalTeacher:
    """The one in this file, ready to hear."""
    return ExternalTeacher(description(path))


def open_features(data: Path, folder: Path, teachers: Path, seed: int = 3) -> TeacherFeatures:
    """Features of short crops by all teachers of a folder."""
    found = [description(path) for path in sorted(teachers.glob("*.yaml"))]
    return TeacherFeatures(data, folder, CROPS, seed, found)


@pytest.fixture(scope="session")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two: ``levels`` in Python, ``peaks`` as a graph."""
    folder = tmp_path_factory.mktemp("teachers")
    write_callable(folder)
    write_graph(folder)
    return folder
