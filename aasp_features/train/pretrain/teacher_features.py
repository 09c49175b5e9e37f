"""Features of every crop by the external teachers, computed once and kept on disk in pieces.

    FEATURES/plan.json            all that the features depend on: seed, crop settings, corpus, teachers
    FEATURES/samples.i16 …        the decoded corpus (``data/waveforms.py``)
    FEATURES/mn04/000012.npy      (PIECE, dim) float16: this teacher's features of piece 12, then a sha256 of them

Files are written atomically, so a killed process loses only its current piece. A piece is always computed in the same
batches, so its bytes do not depend on interruptions.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.data.waveform_crops import PIECE, Cropper
from aasp_features.train.data.waveforms import Waveforms, load_waveforms
from aasp_features.train.distillation_settings import CropSettings
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.external_teachers import ExternalTeacher, TeacherDescription, TeacherError
from aasp_features.train.whole_file import whole_file, write_whole

PLAN_FILE = "plan.json"
NPY_HEADER, CHECKSUM = 128, 32  # bytes before and after a piece's values
NOT_FINITE = 0x7C00  # exponent bits of float16 values that are NaN or infinite
AT_ONCE = 8 * 31_000  # samples in one batch of a teacher


class TeacherFeatures:
    """The features of one plan.

    Args:
        data: The corpus; see ``load_waveforms``.
        folder: Feature folder, created if needed.
        settings, seed: Settings and seed of the crops.
        teachers: Teachers whose features are kept here. Features of others under the same plan stay.

    Raises:
        TrainError: The folder holds features of other crops, or of another teacher with the same name.
    """

    def __init__(
        self, data: Path, folder: Path, settings: CropSettings, seed: int, teachers: Sequence[TeacherDescription]
    ) -> None:
        self.data, self.folder, self.teachers = data, folder, list(teachers)
        self.settings, self.seed = settings, seed
        self.sounds: Waveforms = load_waveforms(data, folder)
        self.cropper = Cropper(self.sounds, settings, seed)
        self._check_plan()

    def _check_plan(self) -> None:
        crops = {"seed": self.seed, "settings": asdict(self.settings), "corpus": self.sounds.sha256, "piece": PIECE}
        path = self.folder / PLAN_FILE
        text, old = _read_plan(path) if path.is_file() else ("", {"crops": crops, "teachers": {}})
        if differing := [name for name in crops if old["crops"].get(name) != crops[name]]:
            seed = old["crops"].get("seed")
            instead = f", or distillation.seed={seed}" if differing == ["seed"] else ""
            raise TrainError(
                f"{self.folder} holds features of other crops ({', '.join(differing)} differ); give another folder"
                f"{instead}."
            )
        for teacher in self.teachers:
            if old["teachers"].setdefault(teacher.name, teacher.identity) != teacher.identity:
                raise TrainError(
                    f"{self.folder} holds features of another teacher named {teacher.name!r}; give another folder or "
                    "another name."
                )
        if json.dumps(old, indent=1) != text:
            write_whole(path, json.dumps(old, indent=1))

    def path(self, teacher: str, piece: int) -> Path:
        """Return the path of a teacher's piece, which need not exist."""
        return self.folder / teacher / f"{piece:06}.npy"

    def has(self, piece: int) -> bool:
        """Return whether a piece exists for every teacher."""
        return all(self.path(teacher.name, piece).is_file() for teacher in self.teachers)

    def complete(self, known: int = 0) -> int:
        """Count the pieces that exist without a gap; the first ``known`` are not checked."""
        while self.has(known):
            known += 1
        return known

    def damaged(self, pieces: int) -> list[Path]:
        """Return those of the first ``pieces`` that exist but are damaged; all of them are read.

        Pieces without a checksum count as damaged if they are truncated or not finite.
        """
        paths = [self.path(teacher.name, piece) for teacher in self.teachers for piece in range(pieces)]
        return [path for path in paths if path.is_file() and not _is_whole(path)]

    def read(self, teacher: str, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a teacher's features of some crops, (crops, dim).

        Raises:
            TrainError: A piece is missing or damaged.
        """
        rows = [self._piece(teacher, int(n) // PIECE)[int(n) % PIECE].astype(np.float32) for n in numbers]
        return np.stack(rows)  # copies, as each view would keep a file open

    def _piece(self, teacher: str, piece: int) -> NDArray[np.float16]:
        try:  # files are closed again, as there may be more pieces than a process can open
            return np.load(self.path(teacher, piece), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except Exception as error:  # numpy parses headers with Python's tokenizer, which raises other errors
            raise TrainError(
                f"{self.path(teacher, piece)} is damaged or missing; delete it to have it computed again."
            ) from error

    def make(self, piece: int, teachers: Sequence[ExternalTeacher]) -> None:
        """Compute the missing features of a piece.

        Raises:
            TeacherError: A teacher failed on one of its crops.
        """
        crops = None
        for teacher in teachers:
            path = self.path(teacher.description.name, piece)
            if not path.is_file():
                if crops is None:
                    crops = [self.cropper.crop(number).waveform for number in range(piece * PIECE, (piece + 1) * PIECE)]
                try:
                    features = compute_features(teacher, crops)
                except TeacherError as error:
                    first = piece * PIECE
                    raise TeacherError(f"{error} The crops were {first} to {first + PIECE - 1}.") from error
                path.parent.mkdir(exist_ok=True)
                with whole_file(path) as temporary:
                    _write_piece(temporary, features)


def _write_piece(path: Path, features: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        np.save(file, features)
    digest = hashlib.sha256(path.read_bytes()).digest()
    with path.open("ab") as file:
        file.write(digest)


def _is_whole(path: Path) -> bool:
    """Return whether a piece is undamaged, by its checksum or, without one, by its header and values."""
    content = path.read_bytes()
    columns, rest = divmod(len(content) - NPY_HEADER, 2 * PIECE)
    if rest == CHECKSUM:
        return hashlib.sha256(content[:-CHECKSUM]).digest() == content[-CHECKSUM:]
    if columns < 1 or rest:
        return False
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": (PIECE, columns)})
    bits = np.frombuffer(content, np.uint16, offset=NPY_HEADER)
    return content.startswith(header.getvalue()) and bool((bits & NOT_FINITE != NOT_FINITE).all())


def _read_plan(path: Path) -> tuple[str, dict[str, Any]]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        plan = json.loads(text)
    except ValueError:
        plan = None
    if not isinstance(plan, dict) or not all(isinstance(plan.get(part), dict) for part in ("crops", "teachers")):
        raise TrainError(f"{path} is damaged; restore it, or give another folder.")
    return text, plan


def compute_features(teacher: ExternalTeacher, crops: Sequence[NDArray[np.float32]]) -> NDArray[np.float16]:
    """Return a teacher's features of crops of any lengths, (crops, dim), without padding."""
    by_length = defaultdict(list)
    for index, crop in enumerate(crops):
        by_length[len(crop)].append(index)
    features = np.empty((len(crops), teacher.dim), np.float16)
    for length, rows in by_length.items():
        size = max(1, AT_ONCE // length)
        for first in range(0, len(rows), size):
            chosen = rows[first : first + size]
            features[chosen] = teacher.forward(np.stack([crops[row] for row in chosen]))
    return features
