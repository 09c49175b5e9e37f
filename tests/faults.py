"""Things that go wrong during a run of ``aasp-embed``, made to happen to real processes: what it says, what is lost.

``python tests/faults.py [--sounds 900]`` prints a table. "Same bytes" compares vectors, table and record with those of
a run that nothing happened to. ``--damaged 1000`` and ``--long 36000``: see ``faults_of_state.py``. ``--moved 300``
copies, links, exchanges or damages sounds and work of killed runs, so many times, gives the command again, and does
more while that runs. It must give what a fresh run gives; or a sentence, but only where a sound holds other bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from faults_of_state import KINDS, make_sounds, print_damaged, small_encoder, states_of

from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.folder import plan
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.folder.state import ROWS_FILE
from aasp_features.sounds.discovery import find_sounds

# The command, but after its first part it says so and waits: what is done to it then does not depend on its speed.
HELD = """
import signal, sys
from aasp_features import cli
from aasp_features.folder.state import RunState
commit = RunState.commit
def commit_and_wait(state, *arguments):
    first = state.sounds == 0
    commit(state, *arguments)
    if first:
        print("committed", flush=True), sys.stdin.read()
RunState.commit = commit_and_wait
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
cli.main()
"""
Rng = np.random.Generator
Row = tuple[str, str, str]  # exit code, what it says, what was lost


class Scene:
    """A folder of sounds, and what a run that nothing happens to makes of it."""

    def __init__(self, folder: Path, sounds: int) -> None:
        self.folder, self.sounds, self.original = folder, folder / "sounds", folder / "original"
        self.original.mkdir()
        for index in range(sounds):
            noise = np.random.default_rng(index).normal(size=8000) * 0.1
            soundfile.write(self.original / f"{index:05}.wav", noise, 16000)
        out = self.fresh()
        assert self.run(out).returncode == 0
        self.expected = results(out)

    def fresh(self) -> Path:
        """Untouched sounds, and an output of its own."""
        shutil.rmtree(self.sounds, ignore_errors=True)
        shutil.copytree(self.original, self.sounds)
        return Path(tempfile.mkdtemp(dir=self.folder)) / "emb.npy"

    def command(self, out: Path, *options: str) -> list[str]:
        return [sys.executable, "-m", "aasp_features.cli", str(self.sounds), "--out", str(out), *options]

    def run(self, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(out, *options), capture_output=True, text=True)

    def held(self, out: Path) -> subprocess.Popen[str]:
        """A run that has committed one part, and goes on when ``communicate`` closes its input."""
        command = [sys.executable, "-c", HELD, str(self.sounds), "--out", str(out)]
        process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True)  # -1: pipes
        assert process.stdout is not None
        assert process.stdout.readline() == "committed\n"
        return process

    def ended(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Exit code and last sentence of a process that was held."""
        _, stderr = process.communicate()
        return str(process.returncode), self.says(stderr)

    def says(self, stderr: str) -> str:
        """The last sentence, without places."""
        line = (stderr.strip() or "nothing").splitlines()[-1]
        return re.sub(rf"{re.escape(str(self.folder))}\S*?(?=[:;,)\s]|$)", "…", line).removeprefix("aasp-embed: ")

    def same(self, out: Path) -> str:
        return "same bytes" if results(out) == self.expected else "NOT THE SAME"

    def goes_on(self, out: Path) -> str:
        """The same command again: what of the first run's work it kept, and whether the bytes are right."""
        done = self.run(out)
        kept = re.search(r"(\d+) sounds of an earlier run", done.stderr)
        ending = self.same(out) if done.returncode == 0 else f"NOT THE SAME: {done.stderr}"
        return f"again: {kept[1] if kept else 0} sounds kept, {ending}"


def results(out: Path) -> dict[str, Any]:
    """Vectors and table as they are; the record without the times of the sounds, as each copy has its own."""
    record = json.loads(out.with_suffix(".json").read_text())
    del record["stamps_sha256"], record["sha256"], record["files"][out.with_suffix(".sounds.jsonl").name]
    return {"vectors": out.read_bytes(), "table": out.with_suffix(".csv").read_bytes(), "record": record}


def killed(scene: Scene) -> Row:
    """kill -9, seven times, at random moments"""
    out, rng = scene.fresh(), np.random.default_rng(0)
    for _ in range(7):
        process = subprocess.Popen(scene.command(out), stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1, 6))
        process.kill()
        process.wait()
    return "-9", "nothing", scene.goes_on(out)


def interrupted(scene: Scene) -> Row:
    """Ctrl-C"""
    out = scene.fresh()
    process = scene.held(out)
    process.send_signal(signal.SIGINT)
    return *scene.ended(process), scene.goes_on(out)


def disk_full(scene: Scene) -> Row:
    """the disk is full (and has room later)"""
    disk = scene.fresh().parent
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", str(disk)], capture_output=True).returncode:
        return "", "not tried: a small disk needs root", ""
    try:
        done = scene.run(disk / "emb.npy")
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        return str(done.returncode), scene.says(done.stderr), scene.goes_on(disk / "emb.npy")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def two_processes(scene: Scene) -> Row:
    """a second process with the same output"""
    out = scene.fresh()
    first = scene.held(out)
    second = scene.run(out)
    first.communicate()
    return str(second.returncode), scene.says(second.stderr), f"the first: {scene.same(out)}"


def deleted(scene: Scene) -> Row:
    """a sound is deleted during the run"""
    out = scene.fresh()
    process = scene.held(out)
    sorted(scene.sounds.iterdir())[-1].unlink()
    return *scene.ended(process), rows_but_the_last(scene, out)


def growing(scene: Scene) -> Row:
    """a sound grows during the run"""
    out = scene.fresh()
    process = scene.held(out)
    soundfile.write(sorted(scene.sounds.iterdir())[-1], np.random.default_rng(1).normal(size=16000) * 0.1, 16000)
    return *scene.ended(process), rows_but_the_last(scene, out)


def backed_up(scene: Scene) -> Row:
    """a backup by hard links, and other rights, during the run"""
    out = scene.fresh()
    process = scene.held(out)
    shutil.copytree(scene.sounds, out.parent / "backup", copy_function=os.link)
    for path in scene.sounds.iterdir():
        path.chmod(0o600)
    return *scene.ended(process), f"{scene.same(out)}; {scene.goes_on(out)}"


def rows_damaged(scene: Scene) -> Row:
    """rows on the disk are damaged during the run"""
    out = scene.fresh()
    process = scene.held(out)
    with (out.with_name("emb.npy.partial") / ROWS_FILE).open("r+b") as file:
        file.seek(100_000)
        file.write(b"damaged")
    _, stderr = process.communicate()
    return str(process.returncode), scene.says("\n".join(stderr.splitlines()[:-1])), scene.same(out)


def after_a_kill(scene: Scene) -> Path:
    out = scene.fresh()
    process = scene.held(out)
    process.kill()
    process.communicate()
    return out


def copied_again(scene: Scene) -> Row:
    """killed, then called when the sounds have been copied anew"""
    out = after_a_kill(scene)
    scene.sounds.rename(out.parent / "gone")
    shutil.copytree(scene.original, scene.sounds, copy_function=shutil.copy)
    return "-9", "nothing", scene.goes_on(out)


def other_options(scene: Scene) -> Row:
    """killed, then called with another option"""
    out = after_a_kill(scene)
    done = scene.run(out, "--pooling", "mean")
    return str(done.returncode), scene.says(done.stderr), scene.goes_on(out)


def other_sounds(scene: Scene) -> Row:
    """killed, then called when a sound that was done has changed"""
    out = after_a_kill(scene)
    soundfile.write(sorted(scene.sounds.iterdir())[0], np.random.default_rng(1).normal(size=8000) * 0.1, 16000)
    done = scene.run(out)
    return str(done.returncode), scene.says(done.stderr), "nothing was touched"


def rows_but_the_last(scene: Scene, out: Path) -> str:
    """Batches are encoded together, so a changed neighbour may change last bits."""
    whole = out.parent / "whole.npy"
    whole.write_bytes(scene.expected["vectors"])
    ours, expected = np.load(out), np.load(whole)
    rows = len(expected) - 1
    return f"the other {rows} rows differ by at most {np.abs(ours[:rows] - expected[:rows]).max():.0e}"


FAULTS: list[Callable[[Scene], Row]] = [killed, interrupted, disk_full, two_processes, deleted, growing, backed_up]
FAULTS += [rows_damaged, copied_again, other_options, other_sounds]


class Place:
    """Sounds, and where the command finds them, with the output ``emb.npy``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sounds, self.asked = folder, folder / "sounds", folder / "sounds"
        self.out, self.work = folder / "emb.npy", folder / "emb.npy.partial"

    def files(self) -> list[Path]:
        return sorted(self.sounds.iterdir())


def rights(place: Place, rng: Rng) -> None:
    """chmod"""
    for path in place.files():
        path.chmod(int(rng.choice([0o600, 0o644, 0o640])))


def backup(place: Place, rng: Rng) -> None:
    """cp -al"""
    subprocess.run(["cp", "-al", place.sounds, tempfile.mkdtemp(dir=place.folder)], check=True)


def copied(place: Place, rng: Rng) -> None:
    """cp -a or cp -r"""
    other = Path(tempfile.mkdtemp(dir=place.folder.parent))  # sounds and work; the first is gone
    subprocess.run(["cp", str(rng.choice(["-a", "-r"])), f"{place.folder}/.", other], check=True)
    shutil.rmtree(place.folder)
    place.__init__(other)  # type: ignore[misc]


def another_path(place: Place, rng: Rng) -> None:
    """the same folder by another path"""
    place.asked = place.folder / "link"
    place.asked.unlink(missing_ok=True)
    place.asked.symlink_to(place.sounds)


def exchange(place: Place, rng: Rng) -> None:
    """mv: two exchanged"""
    first, second = rng.choice(place.files(), 2, replace=False)
    first.rename(place.folder / "x")
    second.rename(first)
    (place.folder / "x").rename(second)


def other_bytes(place: Place, rng: Rng) -> None:
    """another content, same size and mtime"""
    path = rng.choice(place.files())
    content, status = bytearray(path.read_bytes()), path.stat()
    content[-1 - rng.integers(min(200, len(content)))] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def rows_flipped(place: Place, rng: Rng) -> None:
    """rows flipped"""
    path = place.work / ROWS_FILE
    content = bytearray(path.read_bytes())
    content[rng.integers(min(128, len(content) - 1), len(content))] ^= 1
    path.write_bytes(content)


def rows_cut(place: Place, rng: Rng) -> None:
    """rows cut"""
    path = place.work / ROWS_FILE
    os.truncate(path, rng.integers(path.stat().st_size))


Change = Callable[[Place, Rng], None]
HARMLESS: list[Change] = [rights, backup, copied, another_path]
OTHERS: list[Change] = [exchange, other_bytes]
DURING: list[Change] = [rights, backup, rows_flipped, rows_cut]


def moved(cases: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """What was done in each case, and what came of it."""
    plan.BATCH_SOUNDS, rng = 3, np.random.default_rng(seed)
    encoder = small_encoder(8, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sounds").mkdir()
        found = make_sounds(folder / "sounds")
        states = {kind: states_of(encoder, found, KINDS[kind], folder / kind)[1] for kind in KINDS}
        for case in range(cases):
            kind = list(KINDS)[case % 2]
            place = Place(Path(tempfile.mkdtemp(dir=folder)))
            shutil.copytree(folder / "sounds", place.sounds)
            shutil.copytree(states[kind][rng.integers(len(states[kind]) - 1)], place.work)  # nothing is ready yet
            changes = [*rng.choice(HARMLESS, rng.integers(1, 3)), *rng.choice(OTHERS, int(rng.random() < 0.3))]
            for change in changes:
                change(place, rng)
            during = [DURING[rng.integers(len(DURING))]] if rng.random() < 0.5 else []
            done = "; ".join([*(str(one.__doc__) for one in changes), *(f"during: {one.__doc__}" for one in during)])
            yield done, _again(encoder, place, KINDS[kind], during, rng, any(one in OTHERS for one in changes))
            shutil.rmtree(place.folder)


def _again(encoder: AaSPEncoder, place: Place, asked: RunOptions, during: list[Change], rng: Rng, others: bool) -> str:
    """The command, with changes at a random sound; a second time; and in a fresh place."""
    left, told = list(during), int(rng.integers(1, 9))

    def on_sound(name: str, error: str | None) -> None:
        nonlocal told
        told -= 1
        if told == 0 and left:
            left.pop()(place, rng)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            embed_sounds(encoder, find_sounds(place.asked), place.out, asked, on_sound=on_sound)
            rights(place, rng)
            again = embed_sounds(encoder, find_sounds(place.asked), place.out, asked).resumed
            fresh = place.folder / "fresh" / "emb.npy"
            fresh.parent.mkdir()
            embed_sounds(encoder, find_sounds(place.asked), fresh, asked)
    except AaSPError as error:
        sentence = "refused in a sentence" if "\n" not in str(error) else f"NO SENTENCE: {error}"
        return sentence if others else f"REFUSED FOR NOTHING: {error}"
    except Exception as error:
        return f"TRACEBACK: {error!r}"
    if again != len(place.files()):
        return "NOT DONE WHEN ASKED AGAIN"
    return "same bytes" if results(place.out) == results(fresh) else "SILENTLY WRONG"


def print_moved(cases: int) -> None:
    """The table of ``moved``."""
    counts: Counter[str] = Counter()
    for done, ending in moved(cases):
        counts[ending] += 1
        if ending not in ("same bytes", "refused in a sentence"):
            print(f"{done} -> {ending}", flush=True)
    same, refused, wrong = (counts.pop(name, 0) for name in ("same bytes", "refused in a sentence", "SILENTLY WRONG"))
    print("| moved sounds | same bytes | refused in a sentence | silently wrong | anything else |")
    print(f"|---|---|---|---|---|\n| {cases} | {same} | {refused} | {wrong} | {sum(counts.values())} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=int, default=900)
    parser.add_argument("--damaged", type=int, default=0)
    parser.add_argument("--moved", type=int, default=0)
    given = parser.parse_args()
    if given.damaged or given.moved:
        modes = {print_moved: given.moved, print_damaged: given.damaged}
        for show in [show for show, count in modes.items() if count]:
            show(modes[show])
        return
    print("| fault | exit code | what it says | what was lost |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(Path(name), given.sounds)
        for fault in FAULTS:
            print(f"| {fault.__doc__} | " + " | ".join(fault(scene)) + " |", flush=True)


if __name__ == "__main__":
    main()
