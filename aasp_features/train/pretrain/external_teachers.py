"""Networks that others trained, as functions from waveforms to numbers, each described by a small YAML file.

.. code-block:: yaml

    name: mn04                    # the loss and its weight are called by it
    source: where the public original is
    licence: MIT
    labels: what it was trained to tell
    files: {mn04.onnx: <sha256>}  # beside this file, or in the folder of graphs that is given
    callable: my_teacher.py:load  # or module:load; load(files) -> f. Without it: the one file, an ONNX graph
    sample_rate: 16000
    least_samples: 8000           # shorter sounds are padded with zeros
    window: 0                     # samples heard at once; 0 for the whole sound
    hop: 0                        # samples from one window to the next; 0 for the window
    pool: mean                    # or mean+std, of the windows' numbers

A graph, or f, takes (batch, samples) float32 in +-1 and gives (batch, numbers).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features import contents
from aasp_features.errors import AaSPError
from aasp_features.train.recipe import AASP_LOSSES

Floats = NDArray[np.float32]
Network = Callable[[Floats], Floats]
SAMPLE_RATE = 16000  # of the crops
LARGEST = 65504.0  # that float16 holds


class TeacherError(AaSPError, ValueError):
    """A teacher that cannot be used; the sentence names it."""


@dataclass(frozen=True, kw_only=True)
class TeacherDescription:
    """What the YAML file says; see the module. ``folders`` are where its files are looked for."""

    name: str
    source: str
    licence: str
    labels: str
    files: dict[str, str] = field(default_factory=dict)
    callable: str = ""
    sample_rate: int = SAMPLE_RATE
    least_samples: int = 1
    window: int = 0
    hop: int = 0
    pool: Literal["mean", "mean+std"] = "mean"
    folders: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        texts = (self.name, self.source, self.licence, self.labels, self.callable)
        if not all(isinstance(text, str) for text in texts):
            raise TeacherError(f"teacher {self.name!r}: name, source, licence, labels and callable are texts.")
        if not self.name.isidentifier():
            raise TeacherError(f"teacher {self.name!r}: a name has letters, digits and _ only.")
        if self.name in AASP_LOSSES:
            raise TeacherError(f"teacher {self.name}: that is the name of one of AaSP's own losses; give it another.")
        counts = (self.sample_rate, self.least_samples, self.window, self.hop)
        if not isinstance(self.files, dict) or not all(isinstance(x, str) for x in (*self.files, *self.files.values())):
            raise TeacherError(f"teacher {self.name}: files maps names to their sha256, got {self.files!r}.")
        if not all(type(count) is int for count in counts):
            raise TeacherError(f"teacher {self.name}: sample_rate, least_samples, window and hop are whole numbers.")
        if not self.callable and len(self.files) != 1:
            raise TeacherError(f"teacher {self.name}: files must name one graph, or callable what uses them.")
        if self.sample_rate < 1 or self.least_samples < 1 or self.window < 0 or not 0 <= self.hop <= self.window:
            raise TeacherError(f"teacher {self.name}: sample_rate and least_samples must be positive, hop 0 to window.")
        if self.pool not in ("mean", "mean+std"):
            raise TeacherError(f"teacher {self.name}: pool must be mean or mean+std, got {self.pool!r}.")

    @property
    def identity(self) -> dict[str, Any]:
        """What decides its features, as plain values: not where its files lie, nor what is only told of it."""
        told = {"folders", *self.origin}
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in told}
        if self.callable.partition(":")[0].endswith(".py"):
            shown["code"] = contents.sha256(_code_file(self))
        return shown

    @property
    def origin(self) -> dict[str, str]:
        """Source, licence and labels, for cards."""
        return {"source": self.source, "licence": self.licence, "labels": self.labels}


def read_descriptions(places: Sequence[str | Path], graphs: str | Path = "") -> list[TeacherDescription]:
    """Descriptions from YAML files, or from every ``*.yaml`` of a folder.

    Args:
        places: files and folders.
        graphs: folder where the teachers' files lie, if not beside their descriptions.

    Raises:
        TeacherError: nothing there, an unknown or missing key, two of one name.
    """
    paths = [
        path for given in map(Path, places) for path in (sorted(given.glob("*.yaml")) if given.is_dir() else [given])
    ]
    if not paths:
        raise TeacherError(f"no teachers in {[str(given) for given in places]}: give .yaml files or folders of them.")
    found = [_read(path, Path(graphs) if graphs else path.parent) for path in paths]
    if twice := {one.name for one in found if sum(other.name == one.name for other in found) > 1}:
        raise TeacherError(f"two teachers are named {sorted(twice)[0]!r}; give one of them another name.")
    return found


def _read(path: Path, graphs: Path) -> TeacherDescription:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TeacherError(f"{path}: not a teacher's description ({str(error).splitlines()[0]}).") from error
    known = {f.name for f in fields(TeacherDescription)} - {"folders"}
    needed = {"name", "source", "licence", "labels"}
    if not isinstance(values, dict) or set(values) - known or needed - set(values):
        keys = set(values) if isinstance(values, dict) else set()
        raise TeacherError(
            f"{path}: a teacher's description has {', '.join(sorted(needed))} and may have "
            f"{', '.join(sorted(known - needed))}; here {sorted(needed - keys)} are missing, "
            f"{sorted(map(str, keys - known))} unknown."
        )
    try:
        return TeacherDescription(**values, folders=(path.parent, graphs))
    except (TypeError, AttributeError) as error:
        raise TeacherError(f"{path}: a value of the wrong type ({error}).") from error


class ExternalTeacher:
    """A teacher ready to hear.

    Args:
        description: of it; its files are checked against their sha256.
        threads: of onnxruntime.

    Raises:
        TeacherError: a missing or other file, a graph or callable that does not load or gives other than vectors.
    """

    def __init__(self, description: TeacherDescription, threads: int = 1) -> None:
        self.description = description
        files = {name: _checked_file(description, name, sha256) for name, sha256 in description.files.items()}
        self.network = (
            _load_callable(description, files) if description.callable else _load_graph(description, files, threads)
        )
        self.numbers = 0  # not known yet
        silence_and_noise = np.random.default_rng(0).normal(size=(2, SAMPLE_RATE)) * [[0.0], [0.1]]
        self.numbers = self.hear(silence_and_noise.astype(np.float32)).shape[1]

    def hear(self, waveform: Floats) -> Floats:
        """(batch, samples) at 16 kHz -> (batch, numbers), float32.

        Raises:
            TeacherError: it failed, or gave other than one finite vector, within ±65,504, for each sound.
        """
        name, heard = self.description.name, self._windows(waveform)  # (batch, windows, samples)
        batch, windows, _ = heard.shape
        try:
            given = np.asarray(self.network(heard.reshape(batch * windows, -1)))
        except Exception as error:  # whatever a graph or foreign code may raise
            raise TeacherError(
                f"teacher {name}: it failed on {heard.shape[-1]} samples ({_first_line(error)})."
            ) from error
        if given.ndim != 2 or len(given) != batch * windows:
            raise TeacherError(
                f"teacher {name}: it must give (batch, numbers), here ({batch * windows}, …), but gave {given.shape}."
            )
        pooled = given.astype(np.float32).reshape(batch, windows, -1)
        mean = pooled.mean(axis=1)
        features = np.concatenate([mean, pooled.std(axis=1)], axis=1) if self.description.pool == "mean+std" else mean
        if not (np.abs(features) <= LARGEST).all():  # NaN fails, too
            raise TeacherError(
                f"teacher {name}: it gave numbers that are not finite or beyond ±{LARGEST:.0f}; silence is tried, too."
            )
        if self.numbers not in (0, features.shape[1]):
            raise TeacherError(
                f"teacher {name}: it gave {features.shape[1]} numbers for {heard.shape[-1]} samples and {self.numbers} "
                "for another length; it must pool over time."
            )
        return features

    def _windows(self, waveform: Floats) -> Floats:
        asked = self.description
        if asked.sample_rate != SAMPLE_RATE:
            waveform = np.stack([soxr.resample(row, SAMPLE_RATE, asked.sample_rate) for row in waveform])
        least = max(asked.least_samples, asked.window)
        waveform = np.pad(waveform, ((0, 0), (0, max(0, least - waveform.shape[1]))))
        if not asked.window:
            return waveform[:, None]
        every = np.lib.stride_tricks.sliding_window_view(waveform, asked.window, axis=1)
        return np.ascontiguousarray(every[:, :: asked.hop or asked.window], np.float32)


def _checked_file(description: TeacherDescription, name: str, sha256: str) -> Path:
    path = next((folder / name for folder in description.folders if (folder / name).is_file()), None)
    if path is None:
        looked = " or ".join(str(folder) for folder in dict.fromkeys(description.folders))
        raise TeacherError(
            f"teacher {description.name}: {name} is not in {looked}; say where it lies "
            f"(distillation.graphs=FOLDER; --graphs in a probe), or make it from its source, {description.source}."
        )
    found = contents.sha256(path)
    if found != sha256:
        raise TeacherError(
            f"teacher {description.name}: {path} has sha256 {found[:12]}…, not {str(sha256)[:12]}…; it is another "
            "version, or damaged."
        )
    return path


def _load_graph(description: TeacherDescription, files: dict[str, Path], threads: int) -> Network:
    session = open_graph(next(iter(files.values())), threads, description.name)
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise TeacherError(
            f"teacher {description.name}: a graph needs one input and one output; wrap it in a callable."
        )
    entry = session.get_inputs()[0].name
    return lambda waveform: session.run(None, {entry: waveform})[0]


def open_graph(path: Path, threads: int = 1, name: str = "") -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        TeacherError: onnxruntime is missing, or the file is no graph.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise TeacherError('graphs are run by onnxruntime: pip install "aasp-features[train]".') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common class of errors
        raise TeacherError(f"teacher {name or path.stem}: {path} is no graph ({_first_line(error)}).") from error


def _load_callable(description: TeacherDescription, files: dict[str, Path]) -> Network:
    module, _, function = description.callable.partition(":")
    try:
        if module.endswith(".py"):
            path = _code_file(description)
            loaded = ModuleType(f"aasp_teacher_{description.name}")
            loaded.__file__ = str(path)
            sys.modules[loaded.__name__] = loaded  # dataclasses and pickle look there
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True), loaded.__dict__)
        else:
            loaded = importlib.import_module(module)
        return getattr(loaded, function or "load")(files)  # type: ignore[no-any-return]
    except TeacherError:
        raise
    except Exception as error:  # whatever foreign code may raise
        raise TeacherError(
            f"teacher {description.name}: {description.callable} failed ({_first_line(error)})."
        ) from error


def _code_file(description: TeacherDescription) -> Path:
    name = description.callable.partition(":")[0]
    path = next((folder / name for folder in description.folders if (folder / name).is_file()), None)
    if path is None:
        raise TeacherError(f"teacher {description.name}: {name} is not in {description.folders[0]}.")
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
