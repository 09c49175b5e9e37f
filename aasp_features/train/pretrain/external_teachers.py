"""External teachers: pre-trained networks from waveforms to vectors, each described by a small YAML file.

.. code-block:: yaml

    name: mn04                    # names the loss and its weight
    source: where the public original is
    licence: MIT
    labels: what it was trained on
    files: {mn04.onnx: <sha256>}  # beside this file, or in the given folder of graphs
    callable: my_teacher.py:load  # or module:load; load(files) -> f (default: the one file is an ONNX graph)
    sample_rate: 16000
    least_samples: 8000           # shorter sounds are padded with zeros
    window: 0                     # samples per window; 0 for the whole sound
    hop: 0                        # samples between windows; 0 for the window
    pool: mean                    # or mean+std, over the windows

The graph, or f, maps (batch, samples) float32 in ±1 to (batch, dim).
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
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.recipe import AASP_LOSSES

Floats = NDArray[np.float32]
Network = Callable[[Floats], Floats]
MAX_FLOAT16 = 65504.0


class TeacherError(AaSPError, ValueError):
    """An external teacher that cannot be used; the message names it."""


@dataclass(frozen=True, kw_only=True)
class TeacherDescription:
    """Content of the YAML file, see the module. ``folders`` are searched for its files."""

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
            raise TeacherError(f"teacher {self.name!r}: name, source, licence, labels and callable must be texts.")
        if not self.name.isidentifier():
            raise TeacherError(f"teacher {self.name!r}: a name must consist of letters, digits and _.")
        if self.name in AASP_LOSSES:
            raise TeacherError(f"teacher {self.name}: AaSP's own losses use this name; give the teacher another.")
        counts = (self.sample_rate, self.least_samples, self.window, self.hop)
        if not isinstance(self.files, dict) or not all(isinstance(x, str) for x in (*self.files, *self.files.values())):
            raise TeacherError(f"teacher {self.name}: files must map names to their sha256, got {self.files!r}.")
        if not all(type(count) is int for count in counts):
            raise TeacherError(f"teacher {self.name}: sample_rate, least_samples, window and hop must be integers.")
        if not self.callable and len(self.files) != 1:
            raise TeacherError(f"teacher {self.name}: without a callable, files must name exactly one graph.")
        if self.sample_rate < 1 or self.least_samples < 1 or self.window < 0 or not 0 <= self.hop <= self.window:
            raise TeacherError(f"teacher {self.name}: sample_rate and least_samples must be positive, hop 0 to window.")
        if self.pool not in ("mean", "mean+std"):
            raise TeacherError(f"teacher {self.name}: pool must be mean or mean+std, got {self.pool!r}.")

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that determine the features, without paths, source, licence and labels."""
        told = {"folders", *self.origin}
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in told}
        if self.callable.partition(":")[0].endswith(".py"):
            shown["code"] = contents.sha256(_code_file(self))
        return shown

    @property
    def origin(self) -> dict[str, str]:
        """Source, licence and labels, for cards."""
        return {"source": self.source, "licence": self.licence, "labels": self.labels}


def read_descriptions(locations: Sequence[str | Path], graphs: str | Path = "") -> list[TeacherDescription]:
    """Read descriptions from YAML files, or from every ``*.yaml`` of a folder.

    Args:
        locations: Files and folders.
        graphs: Folder of the teachers' files (default: beside their descriptions).

    Raises:
        TeacherError: There is no file, a key is unknown or missing, or two teachers share a name.
    """
    paths = [
        path for given in map(Path, locations) for path in (sorted(given.glob("*.yaml")) if given.is_dir() else [given])
    ]
    if not paths:
        raise TeacherError(f"no teachers in {', '.join(map(str, locations))}; give .yaml files or folders of them.")
    found = [_read(path, Path(graphs) if graphs else path.parent) for path in paths]
    if twice := {one.name for one in found if sum(other.name == one.name for other in found) > 1}:
        raise TeacherError(f"two teachers are named {sorted(twice)[0]!r}; give one of them another name.")
    return found


def _read(path: Path, graphs: Path) -> TeacherDescription:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TeacherError(f"{path} is not a teacher's description ({str(error).splitlines()[0]}).") from error
    known = {f.name for f in fields(TeacherDescription)} - {"folders"}
    needed = {"name", "source", "licence", "labels"}
    if not isinstance(values, dict) or set(values) - known or needed - set(values):
        keys = set(values) if isinstance(values, dict) else set()
        raise TeacherError(
            f"{path}: a teacher's description must have {', '.join(sorted(needed))} and may have "
            f"{', '.join(sorted(known - needed))}; {sorted(needed - keys)} are missing, "
            f"{sorted(map(str, keys - known))} unknown."
        )
    try:
        return TeacherDescription(**values, folders=(path.parent, graphs))
    except (TypeError, AttributeError) as error:
        raise TeacherError(f"{path}: a value of the wrong type ({error}).") from error


class ExternalTeacher:
    """An external teacher ready to run.

    Args:
        description: Description, whose files are checked against their sha256.
        threads: Threads of onnxruntime.

    Raises:
        TeacherError: A file is missing or another one, or the graph or callable does not load or return vectors.
    """

    def __init__(self, description: TeacherDescription, threads: int = 1) -> None:
        self.description = description
        files = {name: _checked_file(description, name, sha256) for name, sha256 in description.files.items()}
        self.network = (
            _load_callable(description, files) if description.callable else _load_graph(description, files, threads)
        )
        self.dim = 0  # still unknown
        silence_and_noise = np.random.default_rng(0).normal(size=(2, SAMPLE_RATE)) * [[0.0], [0.1]]
        self.dim = self.forward(silence_and_noise.astype(np.float32)).shape[1]

    def forward(self, waveform: Floats) -> Floats:
        """Compute features, (batch, samples) at 16 kHz -> (batch, dim), float32.

        Raises:
            TeacherError: The teacher failed, or did not return one finite vector within ±65,504 for each sound.
        """
        name, windowed = self.description.name, self._windows(waveform)  # (batch, windows, samples)
        batch, windows, _ = windowed.shape
        try:
            given = np.asarray(self.network(windowed.reshape(batch * windows, -1)))
        except Exception as error:  # anything that a graph or user code may raise
            raise TeacherError(
                f"teacher {name} failed on {windowed.shape[-1]} samples ({_first_line(error)})."
            ) from error
        if given.ndim != 2 or len(given) != batch * windows:
            raise TeacherError(
                f"teacher {name} must return (batch, dim), here ({batch * windows}, …), but returned {given.shape}."
            )
        pooled = given.astype(np.float32).reshape(batch, windows, -1)
        mean = pooled.mean(axis=1)
        features = np.concatenate([mean, pooled.std(axis=1)], axis=1) if self.description.pool == "mean+std" else mean
        if not (np.abs(features) <= MAX_FLOAT16).all():  # NaN fails, too
            raise TeacherError(
                f"teacher {name} returned values that are not finite or beyond ±{MAX_FLOAT16:.0f} (also try silence)."
            )
        if self.dim not in (0, features.shape[1]):
            raise TeacherError(
                f"teacher {name} returned {features.shape[1]} values for {windowed.shape[-1]} samples, {self.dim} for "
                "others; it must pool over time."
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
            f"teacher {description.name}: {name} is not in {looked}; give its folder (distillation.graphs=FOLDER, or "
            f"--graphs in a probe), or make it from its source, {description.source}."
        )
    found = contents.sha256(path)
    if found != sha256:
        raise TeacherError(
            f"teacher {description.name}: {path} has sha256 {found[:12]}…, not {str(sha256)[:12]}…; give the described "
            "version of the file."
        )
    return path


def _load_graph(description: TeacherDescription, files: dict[str, Path], threads: int) -> Network:
    session = open_graph(next(iter(files.values())), threads, description.name)
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise TeacherError(
            f"teacher {description.name}: a graph must have one input and one output; wrap others in a callable."
        )
    entry = session.get_inputs()[0].name
    return lambda waveform: session.run(None, {entry: waveform})[0]


def open_graph(path: Path, threads: int = 1, name: str = "") -> Any:
    """Open an onnxruntime session on the CPU.

    Raises:
        TeacherError: onnxruntime is missing, or the file is not a graph.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise TeacherError('ONNX graphs need onnxruntime: pip install "aasp-features[train]".') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        raise TeacherError(f"teacher {name or path.stem}: {path} is not a graph ({_first_line(error)}).") from error


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
    except Exception as error:  # anything that user code may raise
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
