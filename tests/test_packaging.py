"""What is said of the package in pyproject.toml, the Makefile and the list of oldest versions agrees."""

import re
import subprocess
from pathlib import Path

import pytest
from warm_process import run_python

from aasp_features import __version__

ROOT = Path(__file__).resolve().parents[1]
NOT_IN_THE_OLDEST_RUN = {
    "onnxscript",
    "ray",
    "pyarrow",
    "datasets",
    "h5py",
    "lancedb",
}  # the tests that need them skip there


@pytest.fixture(scope="module")
def project() -> dict:
    """The [project] table of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def bounds(lines: list[str]) -> dict[str, str]:
    """Package -> lowest version, of lines such as ``name[extra]>=1.2``."""
    return dict(re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", line).groups() for line in lines)


def test_versions_agree(project: dict) -> None:
    assert project["dynamic"] == ["version"]
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert newest in ("Unreleased", __version__)


def test_the_oldest_versions_are_the_lower_bounds(project: dict) -> None:
    extras = [extra for name, extra in project["optional-dependencies"].items() if name != "all"]
    lowest = bounds([*project["dependencies"], *(line for extra in extras for line in extra)])
    lines = (ROOT / "tests/oldest/requirements.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if "==" in line)
    assert set(lowest) - set(tested) == NOT_IN_THE_OLDEST_RUN
    for name in set(lowest) & set(tested):
        assert tested[name].split(".")[: lowest[name].count(".") + 1] == lowest[name].split("."), name


def test_the_oldest_python_is_what_types_are_checked_for(project: dict) -> None:
    floor = project["requires-python"].removeprefix(">=")
    assert f'python_version = "{floor}"' in (ROOT / "pyproject.toml").read_text()
    versions = [line.rsplit(" ")[-1] for line in project["classifiers"] if ":: 3." in line]
    assert versions[0] == floor
    assert f"python{floor}" in (ROOT / "tests/oldest/run").read_text()


def test_all_holds_every_extra_but_gpu(project: dict) -> None:
    """Whose torchaudio needs CUDA's libraries."""
    extras = dict(project["optional-dependencies"])
    (everything,) = extras.pop("all")
    extras.pop("gpu")
    assert everything == f"aasp-features[{','.join(extras)}]"


def test_torchaudio_is_for_gpus_alone(project: dict) -> None:
    """Beside a CPU torch its PyPI build makes ``transformers`` fail, so nobody gets it unasked."""
    with_torchaudio = {name for name, lines in project["optional-dependencies"].items() if "torchaudio>=2.4" in lines}
    assert with_torchaudio == {"gpu"}
    assert "torchaudio" not in " ".join(project["dependencies"])


def test_embedding_needs_no_torchaudio() -> None:
    """In a process where importing it is an error that nobody catches."""
    script = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchaudio":
            raise SystemExit("torchaudio was imported")
sys.meta_path.insert(0, Refuse())
import numpy as np
from aasp_features import AaSPEncoder
sound = np.sin(np.arange(44100) / 7).astype("f") * 0.1
assert AaSPEncoder.from_pretrained().embed(sound, sample_rate=44100).shape == (1536,)
"""
    done = run_python(script)
    assert (done.returncode, done.stderr) == (0, "")


def test_extras_that_are_advised_exist(project: dict) -> None:
    """In sentences of the package and in the documentation: ``pip install "aasp-features[x]"``."""
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "aasp_features").rglob("*.py")]
    advice = "\n".join(path.read_text(encoding="utf-8") for path in texts)
    lists = re.findall(r"(?:aasp-features|\"\.)\[([a-z,]+)\]", advice)
    advised = {extra for extras in lists for extra in extras.split(",")}
    assert {"map", "viz"} <= advised <= set(project["optional-dependencies"])


def test_make_without_a_target_lists_all_of_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()) == set(targets)
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^make (\S+) +\w", shown, re.MULTILINE) == targets


def test_benchmarks_that_make_runs_exist() -> None:
    names = re.search(r"^BENCHMARKS = ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    for name in names.replace("\\\n", " ").split():
        assert (ROOT / "tests" / "benchmarks" / f"{name}.py").is_file(), name


def test_ci_runs_only_what_it_knows() -> None:
    done = subprocess.run(["bash", ROOT / ".ci" / "run", "latest"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "ci: newest or oldest, got latest.\n")
