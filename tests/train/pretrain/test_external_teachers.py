"""Teachers from files: the graph's own numbers, windows by the plain formula, a sentence for whatever is wrong."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from teacher_helpers import CODE, description, peaks, teacher, write_callable, write_description, write_graph

from aasp_features import AaSPConfig, LogMel
from aasp_features.train.pretrain.external_teachers import ExternalTeacher, TeacherError, read_descriptions

pytest.importorskip("onnxruntime")
SOUND = np.random.default_rng(0).normal(size=(3, 20000)).astype(np.float32) * 0.1


def test_a_graph_gives_its_numbers(tmp_path: Path) -> None:
    heard = teacher(write_graph(tmp_path)).forward(SOUND)
    np.testing.assert_allclose(heard, peaks(SOUND), rtol=1e-6)


@pytest.mark.parametrize(("hop", "step"), [(1500, 1500), (0, 4000)])
def test_windows_are_pooled(tmp_path: Path, hop: int, step: int) -> None:
    given = teacher(write_graph(tmp_path, window=4000, hop=hop, pool="mean+std")).forward(SOUND)
    starts = range(0, SOUND.shape[1] - 4000 + 1, step)
    windows = np.stack([peaks(SOUND[:, start : start + 4000]) for start in starts])
    np.testing.assert_allclose(given, np.concatenate([windows.mean(axis=0), windows.std(axis=0)], axis=1), rtol=1e-4)


def test_short_sounds_are_padded(tmp_path: Path) -> None:
    heard = teacher(write_graph(tmp_path, least_samples=30000)).forward(SOUND)
    np.testing.assert_allclose(heard, peaks(np.pad(SOUND, ((0, 0), (0, 10000)))), rtol=1e-5)


def test_code_may_have_dataclasses_and_files_beside_it(tmp_path: Path) -> None:
    code = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Scale:
    by: float = 3.0


def load(files):
    name = Path(__file__).stem
    return lambda x: np.full((len(x), 2), Scale().by * len(name))
"""
    assert (teacher(write_callable(tmp_path, code=code)).forward(SOUND) == 3 * len("levels_code")).all()


def test_another_rate(tmp_path: Path) -> None:
    code = "def load(files):\n    return lambda x: x[:, :1] * 0 + x.shape[1]\n"
    heard = teacher(write_callable(tmp_path, code=code, sample_rate=48000)).forward(SOUND)
    assert heard == pytest.approx(np.full((3, 1), 60000))


def test_batch_equals_alone(tmp_path: Path) -> None:
    for one in (teacher(write_graph(tmp_path)), teacher(write_callable(tmp_path))):
        alone = np.concatenate([one.forward(row[None]) for row in SOUND])
        np.testing.assert_allclose(one.forward(SOUND), alone, rtol=1e-5, atol=1e-6)


def test_a_folder_of_descriptions_and_graphs_elsewhere(tmp_path: Path) -> None:
    write_graph(tmp_path / "graphs")
    (tmp_path / "graphs" / "peaks.yaml").rename(tmp_path / "peaks.yaml")
    write_callable(tmp_path)
    found = read_descriptions([tmp_path], tmp_path / "graphs")
    assert [one.name for one in found] == ["levels", "peaks"]
    assert [ExternalTeacher(one).dim for one in found] == [8, 2]


def test_the_descriptions_in_the_examples_are_read() -> None:
    examples = Path(__file__).resolve().parents[3] / "examples" / "teachers"
    found = {one.name: one for one in read_descriptions([examples])}
    assert {"mn04", "speech", "voice", "log_mel"} <= set(found)
    heard = ExternalTeacher(found["log_mel"]).forward(SOUND)
    import torch

    log_mel = LogMel(AaSPConfig(mean=0.0, std=1.0))(torch.from_numpy(SOUND[0])).numpy()
    np.testing.assert_allclose(heard[0], np.concatenate([log_mel.mean(0), log_mel.std(0)]), rtol=1e-4, atol=1e-4)


@pytest.mark.data
def test_the_public_teachers(shared_audio: Path) -> None:
    """They load here, a batch equals alone, and each gives the number of features that its page says."""
    graphs, examples = shared_audio.parent / "teachers", Path(__file__).resolve().parents[3] / "examples" / "teachers"
    if not graphs.is_dir():
        pytest.skip(f"not a graphs at {graphs}")
    wanted = {"mn04": 896, "speech": 192, "voice": 256, "log_mel": 256}
    for one in map(ExternalTeacher, read_descriptions([examples], graphs)):
        if one.description.name in wanted:
            assert one.dim == wanted[one.description.name]
            alone = np.concatenate([one.forward(row[None]) for row in SOUND])
            np.testing.assert_allclose(one.forward(SOUND), alone, rtol=2e-3, atol=2e-4)


def broken(folder: Path, kind: str) -> Path:
    if kind == "missing file":
        path = write_graph(folder)
        (folder / "peaks.onnx").unlink()
    elif kind == "other sha256":
        path = write_graph(folder, files={"peaks.onnx": "0" * 64})
    elif kind == "not a graph":
        path = write_graph(folder)
        (folder / "peaks.onnx").write_bytes(b"not a graph")
        import hashlib

        path = write_description(folder, "peaks", files={"peaks.onnx": hashlib.sha256(b"not a graph").hexdigest()})
    elif kind in ("wrong shape", "not finite", "not pooled", "not for silence", "fails", "syntax", "no load"):
        code = {
            "wrong shape": "def load(files):\n    return lambda x: x.sum()\n",
            "not finite": "def load(files):\n    return lambda x: x[:, :2] * float('nan')\n",
            "not pooled": "def load(files):\n    return lambda x: x[:, ::100]\n",
            "not for silence": "def load(files):\n    return lambda x: x[:, :2] / x.std(axis=1, keepdims=True)\n",
            "fails": "def load(files):\n    return lambda x: x[:, 10**9]\n",
            "syntax": "def load(:\n",
            "no load": "",
        }[kind]
        path = write_callable(folder, code=code)
    elif kind == "no code":
        path = write_callable(folder)
        (folder / "levels_code.py").unlink()
    elif kind == "not yaml":
        path = folder / "x.yaml"
        path.write_text("name: [")
    else:
        path = write_description(folder, "odd", **yaml.safe_load(kind))
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing file", "teacher peaks: peaks.onnx is not in .*graphs=FOLDER"),
        ("other sha256", "teacher peaks: .*has sha256 .*, not 000000000000"),
        ("not a graph", "teacher peaks: .*peaks.onnx is not a graph"),
        ("wrong shape", r"teacher levels must return \(batch, dim\).*returned \(\)"),
        ("not finite", "teacher levels returned values that are not finite"),
        ("fails", "teacher levels failed on 16000 samples"),
        ("syntax", "teacher levels: levels_code.py:load failed"),
        ("no load", "teacher levels: .*has no attribute 'load'"),
        ("no code", "teacher levels: levels_code.py is not in"),
        ("not yaml", "x.yaml is not a teacher's description"),
        ("{colour: red, callable: m:f}", r"\['colour'\] unknown"),
        ("{pool: max, callable: m:f}", "pool must be mean or mean\\+std, got 'max'"),
        ("{}", "files must name exactly one graph"),
        ("{hop: 5, callable: m:f}", "hop 0 to window"),
        ("{window: 8000.0, callable: m:f}", "must be integers"),
        ("{files: [large.onnx]}", "files must map names to their sha256"),
        ("{name: contrast, callable: m:f}", "AaSP's own losses use this name"),
        ("not pooled", r"levels returned 100 values for 10000 samples, 160 for others"),
        ("not for silence", "not finite or beyond ±65504"),
        ("{window: many, callable: m:f}", "must be integers"),
        ("{name: 'a b', callable: m:f}", "consist of letters, digits and _"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, kind: str, sentence: str) -> None:
    with pytest.raises(TeacherError, match=sentence):
        teacher(broken(tmp_path, kind)).forward(SOUND[:, :10000])


def test_two_of_one_name_and_none(tmp_path: Path) -> None:
    write_callable(tmp_path / "a")
    write_callable(tmp_path / "b")
    with pytest.raises(TeacherError, match="two teachers are named 'levels'"):
        read_descriptions([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(TeacherError, match="no teachers in"):
        read_descriptions([tmp_path])


def test_identity_follows_the_code_not_the_place(tmp_path: Path) -> None:
    one, moved = description(write_callable(tmp_path / "a")), description(write_callable(tmp_path / "b"))
    assert one.identity == moved.identity
    assert description(write_callable(tmp_path / "b", licence="MIT")).identity == one.identity
    assert description(write_callable(tmp_path / "b", pool="mean+std")).identity != one.identity
    assert description(write_callable(tmp_path / "b", code=CODE + "\n")).identity != one.identity
