"""Hostile input: damaged files, odd arrays, garbled lists. Each gives sound, or one of this package's own sentences.

``python tests/fuzz.py [--cases 20000]`` prints what became of them; the tests run a few of each. A checkpoint that
loads must be what json and safetensors read there. A flipped bit of a weight is another, legitimate weight: only a hash
tells it, which the bundled checkpoints and the Hub's large files have, and a folder has not.
"""

from __future__ import annotations

import argparse
import collections
import functools
import io
import json
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

import numpy as np
import soundfile
import torch
from fuzz_tasks import garbled_task
from helpers import encode
from safetensors.torch import load, save
from torch import nn

from aasp_features import AaSPClassifier, AaSPConfig, AaSPEncoder
from aasp_features.audio.reading import AudioError, stream_audio
from aasp_features.errors import AaSPError
from aasp_features.inputs import read_inputs
from aasp_features.sounds.discovery import Discovery
from aasp_features.sounds.lists import read_list
from aasp_features.sounds.shards import ShardReader

Rng, Files = np.random.Generator, dict[str, bytes]
WARM_UP, MAX_MEMORY = 20, 256  # cases after which memory grows by less than so many MiB
SLOW_SECONDS = 10.0  # of this thread's own work: a case takes milliseconds, and a busy machine adds none
KINDS = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "PCM_16"), ("FLAC", "PCM_16")]
KINDS += [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16")]
KINDS += [("W64", "PCM_16"), ("CAF", "PCM_16"), ("RF64", "PCM_16"), ("RIFX", "PCM_16"), ("RIFX", "FLOAT")]
SIZES = ["0", "-1", "x", "", "1e3", "4096", str(2**31), str(2**63 - 1), str(2**63), "9" * 20, "9" * 5000]
ENCODED = [("ipod", "aac", 44100), ("adts", "aac", 44100), ("webm", "libopus", 48000), ("matroska", "flac", 44100)]
ENCODED += [("amr", "libopencore_amrnb", 8000), ("wv", "wavpack", 44100), ("tta", "tta", 44100), ("ac3", "ac3", 48000)]
ENCODED += [("mov", "alac", 44100), ("avi", "mp3", 44100), ("mpegts", "aac", 44100), ("flv", "aac", 44100)]


def a_sound(rng: Rng) -> tuple[bytes, str]:
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


def with_more_behind(rng: Rng, content: bytes, kind: str) -> bytes:
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


def damaged_file(rng: Rng, folder: Path) -> None:
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
    blocks = list(stream_audio(path, start=start, end=end))
    assert all(block.dtype == np.float32 and np.isfinite(block).all() for block in blocks)
    assert sum(map(len, blocks)) >= 1


def damaged_shard(rng: Rng, folder: Path) -> None:
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
    shard = ShardReader(path)
    for sound in shard.sounds:
        assert all(-(2**63) <= value < 2**63 for value in sound.stamp())
        assert sum(map(len, sound.stream(16000, max_hours=1))) >= 1
    for reason in shard.problems.values():
        raise AudioError(reason)


def sparse_map(rng: Rng, size: int) -> dict[str, str]:
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


def odd_array(rng: Rng, folder: Path) -> None:
    """Arrays of any dtype, shape, rate and content, alone, in lists, tuples and dicts."""
    shape = tuple(int(side) for side in rng.integers(0, 6, size=rng.integers(0, 4))) or (int(rng.integers(0, 900)),)
    dtype = rng.choice(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "?", "c8", "U3", "O"])
    with np.errstate(all="ignore"):
        array = (rng.normal(size=shape) * rng.choice([0, 1e-30, 1, 1e4, 1e30])).astype(dtype)
    if array.dtype.kind == "f" and array.size and rng.random() < 0.2:
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
    good, wrong = [None, 8000, 16000, 22050.0, 44100, 192000], [0, -1, 1, 7, 1.5, True, "16000", np.nan]
    rate = one_of(rng, good if rng.random() < 0.8 else wrong)
    forms = [array, [array, array], (array, rate), {"array": array, "sampling_rate": rate}, [[array]], {"array": array}]
    axis = [None, None, None, 0, 1, -1, 5][rng.integers(7)]
    for clip in read_inputs(one_of(rng, forms), sample_rate=rate, channel_axis=axis).clips:
        samples = np.concatenate(list(clip.blocks()))
        assert samples.dtype == np.float32
        assert samples.size >= 1
        assert np.isfinite(samples).all()


LIST_CELLS = ["", "1", "-1", "nan", "1e9", "0.5", '"', "\x00", "\ufeff", "ü", "u\u0308.wav", "ü.wav", "0,05", '"0,5"']
LIST_CELLS += ["05", "good.wav", "a,b", "gone.wav", ".", "**", "[", "²", "9" * 5000, "x" * 300]


def garbled_list(rng: Rng, folder: Path) -> None:
    """Text and CSV lists with odd bytes, columns and numbers."""
    for name in ("good.wav", "u\u0308.wav"):
        soundfile.write(folder / name, np.zeros(800), 16000)
    lines = [",".join(rng.choice(LIST_CELLS, size=rng.integers(0, 5))) for _ in range(rng.integers(0, 5))]
    header = rng.choice(["path,start,end", "path", "start,path", "x,y", ""])
    odd = rng.bytes(int(rng.integers(0, 6))).translate(None, b"./")  # no way out of the folder: "/" is the whole disk
    path = folder / f"list{rng.choice(['.csv', '.txt'])}"
    path.write_bytes("\n".join([header, *lines]).encode() + odd)
    before = Path.cwd()
    os.chdir(folder)  # where "." and "**" of a list begin: not in a tree of any size
    try:
        read_list(str(path), Discovery())
    finally:
        os.chdir(before)


CONFIG = AaSPConfig(dim=8, heads=2, depth=2, mlp_ratio=1, states=2, lambda_hidden=4, window=8, context=1, name="fuzzed")
HOSTILE = [0, -1, 1, 2, 3, 7, 16, 4096, 2**31, 2**63, 10**400, 0.5, -0.0, 1e-9, 1e30, 1e308, np.nan, np.inf] * 2
HOSTILE += [True, False, None, "", "mean", "a" * 10_000, "\x00\n", "\ud800", [], {}, [[[[]]]], [1] * 1000, {"a": {}}]
DTYPES = ["F64", "F32", "F16", "BF16", "I8", "U8", "BOOL", "F8_E4M3", "f32", "C64"]
LENGTHS = [0, 1, 2**20, 2**31, 2**63, 2**64 - 1]  # that a header of weights may be said to have
SOUND = (np.random.default_rng(0).normal(size=3000) * 0.1).astype(np.float32)


@functools.cache
def intact(half: bool) -> Files:
    """All files of a small classifier; two of them are its encoder's checkpoint."""
    torch.manual_seed(0)
    encoder = AaSPEncoder(CONFIG)
    classifier = AaSPClassifier(encoder, ("rain", "bell", "voice"), nn.Linear(encoder.embedding_dim, 3))
    with tempfile.TemporaryDirectory() as folder:
        saved = classifier.save_pretrained(folder)
        if half:
            encoder.save_pretrained(folder, half=True)
        return {path.name: path.read_bytes() for path in saved.iterdir()}


def one_of(rng: Rng, values: list) -> object:
    return values[rng.integers(len(values))]


def hostile(rng: Rng) -> object:
    return one_of(rng, HOSTILE)


def flipped(rng: Rng, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def cut(rng: Rng, data: bytes) -> bytes:
    return data[: rng.integers(len(data))]


def edited_config(rng: Rng, text: bytes) -> bytes:
    values = json.loads(text)
    for _ in range(int(rng.integers(1, 3))):
        name, fate = str(one_of(rng, [*values, ""])), rng.random()
        if fate < 0.2:
            values.pop(name, None)
        else:
            values[f"{name}{rng.choice(['s', chr(0)]) if fate < 0.3 else ''}"] = hostile(rng)
    return json.dumps(values).encode()


def garbled_config(rng: Rng, text: bytes) -> bytes:
    depth, line = int(rng.integers(1, 30_000)), one_of(rng, text.splitlines())
    fates = [b"[" * depth, b'{"a":' * depth, text.replace(b"\n", b"\n" + line + b"\n", 1), text + b" " * 200_000, b""]
    fates += [
        text.replace(b"192", b"9" * depth),
        text.replace(b"8", b"9" * 5000, 1),
        flipped(rng, text),
        cut(rng, text),
    ]
    return one_of(rng, fates)


def edited_header(rng: Rng, content: bytes) -> bytes:
    """One or two tensors' entries are changed; the data stay."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    for _ in range(int(rng.integers(1, 3))):
        name, other = (str(one_of(rng, list(header))) for _ in range(2))
        entry, field, fate = header[name], str(rng.choice(["dtype", "shape", "data_offsets", "colour"])), rng.random()
        if not isinstance(entry, dict) or fate < 0.1:
            header[name] = hostile(rng)
        elif fate < 0.3 and isinstance(entry.get(field), list) and entry[field]:
            entry[field][rng.integers(len(entry[field]))] = hostile(rng)
        elif fate < 0.5 and isinstance(header[other], dict):
            entry[field] = header[other].get(field)
        elif fate < 0.6:
            entry["dtype"] = str(rng.choice(DTYPES))
        elif fate < 0.7:
            header[f"{name}2"] = header.pop(name)
        elif fate < 0.8:
            header[name], header[other] = header[other], header[name]
        elif fate < 0.9:
            del header[name]
        else:
            entry[field] = hostile(rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[end:]


def garbled_weights(rng: Rng, data: bytes) -> bytes:
    size, end = one_of(rng, [*LENGTHS, len(data), len(data) - 8]), 8 + int.from_bytes(data[:8], "little")
    fates = [cut(rng, data), data + rng.bytes(int(rng.integers(1, 99))), size.to_bytes(8, "little") + data[8:], b""]
    fates += [flipped(rng, data[:end]) + data[end:], data[:end] + flipped(rng, data[end:]), data * 2]
    return one_of(rng, fates)


def damaged_checkpoint(rng: Rng, folder: Path) -> None:
    """A config or weights that were edited, cut or garbled."""
    files = dict(intact(half=bool(rng.random() < 0.5)))
    name = str(rng.choice(["config.json", "model.safetensors"]))
    damages = [edited_config, garbled_config] if name == "config.json" else [edited_header, garbled_weights]
    files[name] = one_of(rng, damages)(rng, files[name])
    for path, data in files.items():
        (folder / path).write_bytes(data)
    encoder = AaSPEncoder.from_pretrained(folder)
    assert np.isfinite(encoder.embed(SOUND)).all()
    values = json.loads(files["config.json"])
    assert all(getattr(encoder.config, key) == values[key] for key in vars(CONFIG))
    expected, given = load(files["model.safetensors"]), encoder.network.state_dict()
    assert expected.keys() == given.keys()
    assert all(torch.equal(given[key], value.float()) for key, value in expected.items())


def damaged_classifier(rng: Rng, folder: Path) -> None:
    """A classifier's names or its head, edited, cut or garbled, or not; what loads is what was saved."""
    files, fate = dict(intact(half=False)), rng.random()
    text, head = files["classifier.json"], files["classifier.safetensors"]
    values = json.loads(text)
    changes = [{one_of(rng, list(values)): hostile(rng)}, {"labels": values["labels"][::-1]}, {"multi_label": True}]
    texts = [*(json.dumps({**values, **change}).encode() for change in changes), flipped(rng, text), cut(rng, text)]
    scaled = {name: value * float(rng.choice([1e10, 1e38, -1.0])) for name, value in load(head).items()}
    if fate < 0.6:
        files["classifier.json"] = one_of(rng, texts)
    elif fate < 0.9:
        files["classifier.safetensors"] = one_of(rng, [save(scaled), flipped(rng, head), cut(rng, head)])
    for name, data in files.items():
        (folder / name).write_bytes(data)
    classifier = AaSPClassifier.from_pretrained(folder)
    assert json.loads(files["classifier.json"]) == values
    assert files["classifier.safetensors"] == head
    assert [one.label for one in classifier.predict(SOUND)]


TARGETS: dict[str, Callable[[Rng, Path], None]] = {
    "damaged files": damaged_file,
    "damaged shards": damaged_shard,
    "odd arrays": odd_array,
    "garbled lists": garbled_list,
    "damaged checkpoints": damaged_checkpoint,
    "garbled tasks": garbled_task,
    "damaged classifiers": damaged_classifier,
}


def run(name: str, cases: int, first: int = 0) -> collections.Counter[str]:
    """Outcomes of so many cases, each made by its own seed: "sound" for what is right, or "sentence"."""
    outcomes: collections.Counter[str] = collections.Counter()
    before = peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + cases):
            began = time.thread_time()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of headers that say what is not so, and of odd samples
                    TARGETS[name](np.random.default_rng(seed), Path(folder))
                outcomes["sound"] += 1
            except Exception as error:
                text = str(error)
                if not isinstance(error, AaSPError) or text[-1] != "." or "Traceback" in text or len(text) > 2000:
                    raise AssertionError(f"{name}, seed {seed}: {type(error).__name__}: {error}") from error
                outcomes["sentence"] += 1
            assert time.thread_time() - began < SLOW_SECONDS, f"{name}, seed {seed}: hangs"
            if seed == first + WARM_UP:
                before = peak_memory()
    assert peak_memory() - before < MAX_MEMORY, f"{name}: a case took {peak_memory() - before:.0f} MiB"
    return outcomes


def peak_memory() -> float:
    """MiB that this process held at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=TARGETS, default=list(TARGETS))
    arguments = parser.parse_args()
    print("| input | cases | came out, loaded or was measured | a sentence | anything else | memory grew by |")
    print("|---|---|---|---|---|---|")
    for name in arguments.kinds:
        before, outcomes = peak_memory(), run(name, arguments.cases)
        counts = f"{arguments.cases} | {outcomes['sound']} | {outcomes['sentence']} | 0"
        print(f"| {name} | {counts} | {peak_memory() - before:.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
