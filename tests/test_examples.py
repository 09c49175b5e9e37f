"""The example scripts do what their first lines say."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from aasp_features import AaSPEncoder

ROOT = Path(__file__).resolve().parents[1]
TEACHER = """
import numpy as np


def load(files):
    return lambda waveform: np.stack([waveform.std(axis=1), np.abs(waveform).mean(axis=1)], axis=1)
"""


def ended(process: int) -> bool:
    """Is a process that is not our child gone, though perhaps nobody has asked for its exit code?"""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.skipif(os.name != "posix", reason="a bash script")
def test_training_in_the_background_and_finishing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("sounds", "teachers"):
        (tmp_path / folder).mkdir()
    for index in range(4):
        soundfile.write(tmp_path / "sounds" / f"{index}.wav", 0.1 * rng.normal(size=16000), 16000)
    (tmp_path / "teachers" / "levels.py").write_text(TEACHER)
    card = "name: levels\nsource: a test\nlicence: CC0\nlabels: none\ncallable: levels.py:load\n"
    (tmp_path / "teachers" / "levels.yaml").write_text(card)
    settings = "distillation.batch=4 run.precision=float32"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TEACHERS": str(tmp_path / "teachers"),
        "CROPS": "256",
        "NICE": "0",  # at the lowest priority a busy machine would not let it run at all
        "SETTINGS": f"{settings} run.steps=21",
    }
    script = ["bash", str(ROOT / "examples" / "train_in_background.sh")]
    arguments = [str(tmp_path / "sounds"), str(tmp_path), str(tmp_path / "state")]
    early = subprocess.run([*script, "--finish", *arguments], env=environment, capture_output=True, text=True)
    assert early.returncode == 2
    assert "no run to finish" in early.stderr
    started = subprocess.run([*script, *arguments], env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    process = int(started.stdout.split("process ")[1].split(";")[0])
    while not ended(process):
        time.sleep(0.1)
    assert "complete at step 21" in (tmp_path / "state" / "run.log").read_text()
    before = (tmp_path / "state" / "run" / "state.safetensors").read_bytes()
    environment["SETTINGS"] = f"{settings} run.steps=25"
    done = subprocess.run([*script, "--finish", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "complete at step 25" in done.stderr
    assert (tmp_path / "state" / "run" / "state.safetensors").read_bytes() == before
    assert not (tmp_path / "state" / "finish").exists()
    encoder = AaSPEncoder.from_pretrained(tmp_path / "state" / "checkpoint")
    assert (encoder.config.name, encoder.config.layers) == ("aasp-tiny-mine-1", 4)
