"""Things that go wrong during a run of ``aasp-embed``, made to happen to real processes: what it says, what is lost.

``python tests/faults.py [--sounds 900]`` prints a table. "Same bytes" compares vectors, table and record with those of
a run that nothing happened to. ``--damaged 1000`` damages the unfinished work of killed runs at random, so many times;
``--long 36000`` kills a run of one recording of so many seconds ten times (see ``faults_of_state.py``); ``--moved 300``
copies, links, renames and exchanges sounds and work, so many times (see ``faults_of_sounds.py``).
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

COMMAND = [sys.executable, "-m", "aasp_features.cli"]
# The command, but after its first batch it says so and waits: what is done to it then does not depend on its speed.
HELD = """
import signal, sys
from aasp_features import cli
from aasp_features.folder.state import RunState
commit = RunState.commit
def commit_and_wait(state, *arguments):
    first = state.done == 0
    commit(state, *arguments)
    if first:
        print("committed", flush=True)
        sys.stdin.read()
RunState.commit = commit_and_wait
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
cli.main()
"""
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

    def start(self, out: Path, *options: str) -> subprocess.Popen[str]:
        command = [*COMMAND, str(self.sounds), "--out", str(out), *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def run(self, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
        process = self.start(out, *options)
        _, stderr = process.communicate()
        return subprocess.CompletedProcess([], process.returncode, "", stderr)

    def held(self, out: Path) -> subprocess.Popen[str]:
        """A run that has committed one part, and goes on when ``communicate`` closes its input."""
        command = [sys.executable, "-c", HELD, str(self.sounds), "--out", str(out)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "committed\n"
        return process

    def same(self, out: Path) -> bool:
        return results(out) == self.expected

    def goes_on(self, out: Path) -> str:
        """The same command again: what of the first run's work it kept, and whether the bytes are right."""
        done = self.run(out)
        kept = re.search(r"(\d+) sounds of an earlier run", done.stderr)
        ending = "same bytes" if done.returncode == 0 and self.same(out) else f"NOT THE SAME: {done.stderr}"
        return f"again: {kept[1] if kept else 0} sounds kept, {ending}"


def results(out: Path) -> dict[str, Any]:
    """Vectors and table as they are; the record without the times of the sounds, as each copy has its own."""
    record = json.loads(out.with_suffix(".json").read_text())
    del record["stamps_sha256"], record["sha256"]
    return {"vectors": out.read_bytes(), "table": out.with_suffix(".csv").read_bytes(), "record": record}


def says(stderr: str, scene: Scene) -> str:
    """Its last sentence, without places."""
    line = (stderr.strip() or "nothing").splitlines()[-1]
    return re.sub(rf"{re.escape(str(scene.folder))}\S*?(?=[:;,)\s]|$)", "…", line).removeprefix("aasp-embed: ")


def killed(scene: Scene) -> Row:
    """kill -9, seven times, at random moments"""
    out, rng = scene.fresh(), np.random.default_rng(0)
    for _ in range(7):
        process = scene.start(out)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1, 6))
        process.kill()
        process.communicate()
    return "-9", "nothing", scene.goes_on(out)


def interrupted(scene: Scene) -> Row:
    """Ctrl-C"""
    out = scene.fresh()
    process = scene.held(out)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    return str(process.returncode), says(stderr, scene), scene.goes_on(out)


def disk_full(scene: Scene) -> Row:
    """the disk is full (and has room later)"""
    disk = scene.fresh().parent
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", str(disk)], capture_output=True).returncode:
        return "", "not tried: a small disk needs root", ""
    try:
        done = scene.run(disk / "emb.npy")
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        return str(done.returncode), says(done.stderr, scene), scene.goes_on(disk / "emb.npy")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def read_only(scene: Scene) -> Row:
    """the output's folder is read-only"""
    place = Path("/proc/self")
    if os.geteuid() != 0:
        place = scene.fresh().parent
        place.chmod(0o555)
    done = scene.run(place / "emb.npy")
    return str(done.returncode), says(done.stderr, scene), "nothing was begun"


def two_processes(scene: Scene) -> Row:
    """a second process with the same output"""
    out = scene.fresh()
    first = scene.held(out)
    second = scene.run(out)
    first.communicate()
    same = "same bytes" if scene.same(out) else "NOT THE SAME"
    return str(second.returncode), says(second.stderr, scene), f"the first: {same}"


def deleted(scene: Scene) -> Row:
    """a sound is deleted during the run"""
    out = scene.fresh()
    process = scene.held(out)
    sorted(scene.sounds.iterdir())[-1].unlink()
    _, stderr = process.communicate()
    return str(process.returncode), says(stderr, scene), _rows_but_the_last(scene, out)


def growing(scene: Scene) -> Row:
    """a sound grows during the run"""
    out = scene.fresh()
    process = scene.held(out)
    last = sorted(scene.sounds.iterdir())[-1]
    soundfile.write(last, np.random.default_rng(1).normal(size=16000) * 0.1, 16000)
    _, stderr = process.communicate()
    return str(process.returncode), says(stderr, scene), _rows_but_the_last(scene, out)


def backed_up(scene: Scene) -> Row:
    """a backup by hard links, and other rights, during the run"""
    out = scene.fresh()
    process = scene.held(out)
    shutil.copytree(scene.sounds, out.parent / "backup", copy_function=os.link)
    for path in scene.sounds.iterdir():
        path.chmod(0o600)
    _, stderr = process.communicate()
    same = "same bytes" if scene.same(out) else "NOT THE SAME"
    return str(process.returncode), says(stderr, scene), f"{same}; {scene.goes_on(out)}"


def rows_damaged(scene: Scene) -> Row:
    """rows on the disk are damaged during the run"""
    out = scene.fresh()
    process = scene.held(out)
    with (out.with_name("emb.npy.partial") / "rows.bin").open("r+b") as file:
        file.seek(100_000)
        file.write(b"damaged")
    _, stderr = process.communicate()
    same = "same bytes" if scene.same(out) else "NOT THE SAME"
    return str(process.returncode), says("\n".join(stderr.splitlines()[:-1]), scene), same


def copied(scene: Scene) -> Row:
    """killed, then called when the sounds have been copied anew"""
    out = scene.fresh()
    process = scene.held(out)
    process.kill()
    process.communicate()
    scene.sounds.rename(out.parent / "gone")
    shutil.copytree(scene.original, scene.sounds, copy_function=shutil.copy)
    return "-9", "nothing", scene.goes_on(out)


def other_options(scene: Scene) -> Row:
    """killed, then called with another option"""
    out = scene.fresh()
    process = scene.held(out)
    process.kill()
    process.communicate()
    done = scene.run(out, "--pooling", "mean")
    return str(done.returncode), says(done.stderr, scene), scene.goes_on(out)


def other_sounds(scene: Scene) -> Row:
    """killed, then called when a sound that was done has changed"""
    out = scene.fresh()
    process = scene.held(out)
    process.kill()
    process.communicate()
    first = sorted(scene.sounds.iterdir())[0]
    soundfile.write(first, np.random.default_rng(1).normal(size=8000) * 0.1, 16000)
    done = scene.run(out)
    return str(done.returncode), says(done.stderr, scene), "nothing was touched"


def result_is_a_sound(scene: Scene) -> Row:
    """a sound lies where the table would go, and --overwrite is given"""
    out = scene.fresh()
    sound = sorted(scene.sounds.iterdir())[0]
    out.with_suffix(".csv").hardlink_to(sound)
    before = sound.read_bytes()
    done = scene.run(out, "--overwrite")
    return str(done.returncode), says(done.stderr, scene), "nothing" if sound.read_bytes() == before else "THE SOUND"


def endless_list(scene: Scene) -> Row:
    """a list without end (/dev/zero)"""
    out = scene.fresh()
    done = scene.run(out, "--files", "/dev/zero")
    return str(done.returncode), says(done.stderr, scene), "nothing was begun"


def _rows_but_the_last(scene: Scene, out: Path) -> str:
    """Batches are encoded together, so a changed neighbour may change last bits."""
    whole = out.parent / "whole.npy"
    whole.write_bytes(scene.expected["vectors"])
    ours, expected = np.load(out), np.load(whole)
    rows = len(expected) - 1
    return f"the other {rows} rows differ by at most {np.abs(ours[:rows] - expected[:rows]).max():.0e}"


FAULTS: list[Callable[[Scene], Row]] = [
    killed,
    interrupted,
    disk_full,
    read_only,
    two_processes,
    deleted,
    growing,
    backed_up,
    rows_damaged,
    copied,
    other_options,
    other_sounds,
    result_is_a_sound,
    endless_list,
]


def rows(sounds: int) -> Iterator[tuple[str, Row]]:
    """Each fault and what came of it."""
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(Path(name), sounds)
        for fault in FAULTS:
            yield str(fault.__doc__), fault(scene)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=int, default=900)
    parser.add_argument("--damaged", type=int, default=0)
    parser.add_argument("--moved", type=int, default=0)
    given = parser.parse_args()
    if given.damaged or given.moved:
        from faults_of_sounds import print_moved
        from faults_of_state import print_damaged

        if given.moved:
            print_moved(given.moved)
        if given.damaged:
            print_damaged(given.damaged)
        return
    print("| fault | exit code | what it says | what was lost |\n|---|---|---|---|")
    for fault, row in rows(given.sounds):
        print(f"| {fault} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
