"""Hostile input: damaged files, odd arrays, garbled lists. Each gives sound, or one of this package's own sentences.

``python tests/fuzz.py [--cases 20000]`` prints what became of them; the tests run a few of each.
"""

from __future__ import annotations

import argparse
import collections
import io
import os
import resource
import struct
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import fuzz_tasks
import numpy as np
import soundfile
from fuzz_checkpoints import damaged, garbled_classifier, loads, names
from helpers import encode

from aasp_features.audio.reading import AudioError, stream_audio
from aasp_features.errors import AaSPError
from aasp_features.inputs import read_inputs
from aasp_features.sounds.discovery import Discovery, NothingFoundError
from aasp_features.sounds.lists import read_list
from aasp_features.sounds.shards import ShardReader
from aasp_features.train.evaluate.tasks.tables import read_table

WARM_UP, MOST_MEMORY = 20, 256  # cases after which memory grows by less than so many MiB
SLOW_SECONDS = 10.0  # of this thread's own work: a case takes milliseconds, and a busy machine adds none
KINDS = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "PCM_16"), ("FLAC", "PCM_16")]
KINDS += [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16")]
KINDS += [("W64", "PCM_16"), ("CAF", "PCM_16"), ("RF64", "PCM_16"), ("RIFX", "PCM_16"), ("RIFX", "FLOAT")]
SIZES = ["0", "-1", "x", "", "1e3", "4096", str(2**31), str(2**63 - 1), str(2**63), "9" * 20, "9" * 5000]
ENCODED = [("ipod", "aac", 44100), ("adts", "aac", 44100), ("webm", "libopus", 48000), ("matroska", "flac", 44100)]
ENCODED += [("amr", "libopencore_amrnb", 8000), ("wv", "wavpack", 44100), ("tta", "tta", 44100), ("ac3", "ac3", 48000)]
ENCODED += [("mov", "alac", 44100), ("avi", "mp3", 44100), ("mpegts", "aac", 44100), ("flv", "aac", 44100)]


def a_sound(rng: np.random.Generator) -> tuple[bytes, str]:
    """A short valid file in memory, and its ending."""
    if rng.random() < 0.3:
        container, codec, rate = ENCODED[rng.integers(len(ENCODED))]
        return encode(rng.normal(size=int(rng.integers(2000, 9000))) * 0.1, rate, container, codec), f".{container}"
    kind, subtype = KINDS[rng.integers(len(KINDS))]
    rate = int(rng.choice([8000, 16000, 48000] if kind in ("OGG", "MP3") else [8000, 11025, 44100, 96000]))
    sound = rng.normal(size=(int(rng.integers(1, 3000)), int(rng.integers(1, 3)))) * 0.1
    buffer, order = io.BytesIO(), "BIG" if kind == "RIFX" else "FILE"
    soundfile.write(buffer, sound, rate, subtype, order, kind.replace("RIFX", "WAV"))
    return with_more_behind(rng, buffer.getvalue(), kind), f".{kind.lower()}"


def with_more_behind(rng: np.random.Generator, content: bytes, kind: str) -> bytes:
    """Now and then tags behind an MP3, of lengths that they say or others; or more chunks of samples in a WAV."""
    size, said = (int(rng.integers(0, 9000)) for _ in range(2))
    said, picture = size if rng.random() < 0.7 else said, rng.bytes(size)
    if kind == "MP3" and rng.random() < 0.7:
        ape = b"APETAGEX" + struct.pack("<4I", 2000, said + 32, 1, int(rng.choice([0, 1 << 31, 5 << 29]))) + bytes(8)
        id3 = b"ID3\x04\0" + bytes([int(rng.choice([0, 16])), 0, 0, said >> 7 & 127, said & 127])
        tags = [picture + ape, ape + picture + ape, id3 + picture, id3 + picture + id3[::-1], b"TAG" + picture[:125]]
        return content + b"".join(tags[rng.integers(len(tags))] for _ in range(rng.integers(1, 4)))
    if kind in ("WAV", "WAVEX", "RF64", "RIFX") and rng.random() < 0.3:
        order = ">" if kind == "RIFX" else "<"
        chunk = b"".join([b"data", struct.pack(order + "I", said), picture, bytes(size & 1)])
        return content + chunk * int(rng.integers(1, 3))
    return content


def damaged_file(rng: np.random.Generator, folder: Path) -> str:
    """A file with bytes changed (mostly in its header), cut off, doubled, or replaced altogether."""
    content, ending = a_sound(rng)
    data = bytearray(content)
    for _ in range(int(rng.integers(0, 8))):
        reach = min(len(data), 64 if rng.random() < 0.7 else len(data))
        data[rng.integers(reach)] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
    fate = rng.random()
    if fate < 0.2:
        data = data[: rng.integers(len(data) + 1)]
    elif fate < 0.25:
        data = bytearray(rng.bytes(int(rng.integers(0, 500))))
    elif fate < 0.35:
        data = data + (data if rng.random() < 0.5 else a_sound(rng)[0])
    path = folder / f"sound{ending}"
    path.write_bytes(bytes(data))
    start, end = (float(rng.uniform(0, 0.2)), None) if rng.random() < 0.2 else (0.0, None)
    try:
        read = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of headers that say what is not so
            for block in stream_audio(path, start=start, end=end):
                assert block.dtype == np.float32
                assert np.isfinite(block).all()
                read += len(block)
        assert read >= 1
    except AudioError as error:
        return sentence(error)
    return "sound"


def damaged_shard(rng: np.random.Generator, folder: Path) -> str:
    """A tar of a few sounds in any of its formats, with bytes changed in its headers, or cut off."""
    content = io.BytesIO()
    form = int(rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    with tarfile.open(fileobj=content, mode="w", format=form) as shard:
        for number in range(int(rng.integers(1, 5))):
            sound, _ = a_sound(rng)
            member = tarfile.TarInfo(f"{'n' * int(rng.choice([1, 60]))}{number}.wav")
            member.size = len(sound)
            if number and rng.random() < 0.3:
                member.type, member.linkname = rng.choice([tarfile.LNKTYPE, tarfile.SYMTYPE]), "n0.wav"
            elif form == tarfile.PAX_FORMAT and rng.random() < 0.5:
                member.pax_headers = sparse_map(rng, len(sound))
            if rng.random() < 0.1:  # a pax header may state any number
                member.pax_headers = {"size": str(rng.choice(SIZES))}
            shard.addfile(member, io.BytesIO(sound))
    data = bytearray(content.getvalue())
    heads = [place for place in range(0, len(data), 512) if data[place + 257 : place + 262] == b"ustar"]
    for _ in range(int(rng.integers(0, 6))):
        head = int(rng.choice(heads))
        place = int(rng.choice([rng.integers(512), rng.integers(124, 157)]))  # the latter: size, time, type
        data[head + place] = rng.choice([0, 48, 55, 83, 120, 255])
        if rng.random() < 0.8:  # else the header is seen to be damaged
            data[head + 148 : head + 156] = b" " * 8
            data[head + 148 : head + 156] = b"%06o\0 " % sum(data[head : head + 512])
    path = folder / "shard.tar"
    path.write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.2 else data)
    shard, outcome = ShardReader(path), "sound"
    for reason in shard.problems.values():
        outcome = sentence(AudioError(reason))
    for sound in shard.sounds:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                assert all(-(2**63) <= value < 2**63 for value in sound.stamp())
                assert sum(map(len, sound.stream(16000, max_hours=1))) >= 1
        except AudioError as error:
            outcome = sentence(error)
    return outcome


def sparse_map(rng: np.random.Generator, size: int) -> dict[str, str]:
    """PAX headers of a map that fits a member's stored bytes, or not; filled with 0, 0 now and then."""
    cuts = np.sort(rng.integers(0, size + 1, int(rng.integers(0, 3))))
    lengths = np.diff([0, *cuts, size])
    holes = rng.integers(0, 5000, len(lengths)) * (rng.random() < 0.8)
    starts = np.cumsum(holes) + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    numbers = [int(number) for pair in zip(starts, lengths, strict=True) for number in pair]
    numbers += [0, 0] * int(rng.integers(0, 3))
    if rng.random() < 0.3:
        numbers[rng.integers(len(numbers))] = int(rng.choice([0, -5, 10**6, 2**40]))
    real = size + int(holes.sum()) if rng.random() < 0.8 else int(rng.integers(0, 10**6))
    return {"GNU.sparse.map": ",".join(map(str, numbers)), "GNU.sparse.size": str(real)}


def odd_array(rng: np.random.Generator, folder: Path) -> str:
    """Arrays of any dtype, shape, rate and content, alone, in lists, tuples and dicts."""
    shape = tuple(int(side) for side in rng.integers(0, 6, size=rng.integers(0, 4))) or (int(rng.integers(0, 900)),)
    dtype = rng.choice(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "?", "c8", "U3", "O"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = (rng.normal(size=shape) * rng.choice([0, 1e-30, 1, 1e4, 1e30])).astype(dtype)
    if array.dtype.kind == "f" and array.size and rng.random() < 0.2:
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
    rate = [None, 0, -1, 1, 7, 8000, 16000, 22050.0, 44100, 192000, 1.5, True, "16000", np.nan][rng.integers(14)]
    forms = [array, [array, array], (array, rate), {"array": array, "sampling_rate": rate}, [[array]], {"array": array}]
    axis = [None, None, None, 0, 1, -1, 5][rng.integers(7)]
    try:
        given = read_inputs(forms[rng.integers(len(forms))], sample_rate=rate, channel_axis=axis)
        for clip in given.clips:
            samples = np.concatenate(list(clip.blocks()))
            assert samples.dtype == np.float32
            assert samples.size >= 1
            assert np.isfinite(samples).all()
    except AaSPError as error:
        return sentence(error)
    return "sound"


def garbled_list(rng: np.random.Generator, folder: Path) -> str:
    """Text and CSV lists with odd bytes, columns and numbers."""
    good = folder / "good.wav"
    if not good.exists():
        soundfile.write(good, np.zeros(800), 16000)
        soundfile.write(folder / "u\u0308.wav", np.zeros(800), 16000)
    cells = [
        str(good),
        "",
        "1",
        "-1",
        "nan",
        "1e9",
        "0.5",
        '"',
        "\x00",
        "\ufeff",
        "ü",
        "u\u0308.wav",
        "ü.wav",
        "0,05",
        '"0,5"',
        "05",
        "a,b",
        "gone.wav",
        ".",
        "**",
        "[",
        "²",
        "9" * 5000,
        "x" * 300,
    ]
    lines = [",".join(rng.choice(cells, size=rng.integers(0, 5))) for _ in range(rng.integers(0, 5))]
    header = rng.choice(["path,start,end", "path", "start,path", "x,y", ""])
    odd = rng.bytes(int(rng.integers(0, 6))).translate(None, b"./")  # no way out of the folder: "/" is the whole disk
    text = "\n".join([header, *lines]).encode() + odd
    path = folder / f"list{rng.choice(['.csv', '.txt'])}"
    path.write_bytes(text)
    found, before = Discovery(), Path.cwd()
    os.chdir(folder)  # where "." and "**" of a list begin: not in a tree of any size
    try:
        read_list(str(path), found)
    except NothingFoundError as error:
        return sentence(error)
    finally:
        os.chdir(before)
    return "sound"


def garbled_table(rng: np.random.Generator, folder: Path) -> str:
    """Tables of sounds and labels with odd bytes, columns, folds and splits."""
    for number in range(6):
        (folder / f"{number}.wav").touch()
    cells = ["a", "b", "a;b", "", "1", "2", "²", "٣", "-1", "9" * 5000, "train", "test", '"', "\x00", "\ufeff", " "]
    usual = cells if rng.random() < 0.3 else ["1", "2"]
    columns = ["file", "label", *rng.choice(["fold", "split", "group", "x"], size=rng.integers(0, 3), replace=False)]
    rows = [[f"{number}.wav", *rng.choice(cells[:3], 1), *rng.choice(usual, 2)] for number in range(6)]
    for row in rows:
        if rng.random() < 0.1:
            row[rng.integers(len(row))] = str(rng.choice(cells))
    text = "\n".join(",".join(line[: len(columns)]) for line in (columns, *rows)).encode()
    (folder / "labels.csv").write_bytes(text + rng.bytes(int(rng.random() < 0.2)))
    try:
        task = read_table(folder / "labels.csv")
    except AaSPError as error:
        return sentence(error)
    assert len(task.files) == len(task.labels) == len(task.parts)
    return "sound"


def damaged_classifier(rng: np.random.Generator, folder: Path) -> str:
    """A classifier's names, or its head, that were edited or cut; see ``fuzz_checkpoints``."""
    try:
        names(folder, garbled_classifier(rng, folder))
    except AaSPError as error:
        return sentence(error)
    return "sound"


def damaged_checkpoint(rng: np.random.Generator, folder: Path) -> str:
    """A config or weights that were edited, cut or garbled; see ``fuzz_checkpoints``."""
    files = damaged(rng, folder)
    try:
        loads(folder, files)
    except AaSPError as error:
        return sentence(error)
    return "sound"


def garbled_task(rng: np.random.Generator, folder: Path) -> str:
    """Tables and folders of labelled sounds, down to a clip or none of a class; see ``fuzz_tasks``."""
    place = fuzz_tasks.write(rng, folder)
    try:
        fuzz_tasks.measure(rng, place)
    except AaSPError as error:
        return sentence(error)
    return "sound"


def sentence(error: Exception) -> str:
    text = str(error)
    assert text.endswith("."), text
    assert "Traceback" not in text
    assert len(text) < 2000
    return "sentence"


TARGETS: dict[str, Callable[[np.random.Generator, Path], str]] = {
    "damaged files": damaged_file,
    "damaged shards": damaged_shard,
    "odd arrays": odd_array,
    "garbled lists": garbled_list,
    "garbled tables": garbled_table,
    "damaged checkpoints": damaged_checkpoint,
    "garbled tasks": garbled_task,
    "damaged classifiers": damaged_classifier,
}


def run(name: str, cases: int, first: int = 0) -> collections.Counter[str]:
    """Outcomes of so many cases, each made by its own seed."""
    outcomes: collections.Counter[str] = collections.Counter()
    before = peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + cases):
            began = time.thread_time()
            try:
                outcomes[TARGETS[name](np.random.default_rng(seed), Path(folder))] += 1
            except Exception as error:
                raise AssertionError(f"{name}, seed {seed}: {type(error).__name__}: {error}") from error
            assert time.thread_time() - began < SLOW_SECONDS, f"{name}, seed {seed}: hangs"
            if seed == first + WARM_UP:
                before = peak_memory()
    assert peak_memory() - before < MOST_MEMORY, f"{name}: a case took {peak_memory() - before:.0f} MiB"
    return outcomes


def peak_memory() -> float:
    """MiB that this process held at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=TARGETS, default=list(TARGETS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of odd samples there are many
    print("| input | cases | came out, loaded or was measured | a sentence | anything else | memory grew by |")
    print("|---|---|---|---|---|---|")
    for name in arguments.kinds:
        before, outcomes = peak_memory(), run(name, arguments.cases)
        counts = f"{arguments.cases} | {outcomes['sound']} | {outcomes['sentence']} | 0"
        print(f"| {name} | {counts} | {peak_memory() - before:.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
