"""What the README prints and promises works as printed."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from code_blocks import code_blocks, run_block, run_shell

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


@pytest.fixture
def in_a_checkout(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that has what the README's commands name, and may be written to."""
    shutil.copytree(sounds, tmp_path / "examples" / "sounds")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell_blocks() -> list[str]:
    return [code.strip() for language, code in code_blocks(README) if language == "sh"]


def test_two_commands_do_all_set_up() -> None:
    job, folder, development = shell_blocks()
    steps = job.split(" && ")
    assert steps[1] == ".venv/bin/pip install torch==2.13.0"  # first of all packages: else pip takes another build
    assert steps[2:] == [".venv/bin/pip install .", f".venv/bin/{folder}"]
    assert development == "make setup && make test"
    assert "make setup\n    make lint\n    make types\n    make docs\n    make test\n" in (ROOT / ".ci/run").read_text()


def test_the_folder_command_runs(in_a_checkout: Path) -> None:
    run_shell(shell_blocks()[1])
    assert np.load("emb.npy").shape == (12, 1536)
    assert sorted(path.name for path in in_a_checkout.glob("emb*")) == [
        "emb.csv",
        "emb.json",
        "emb.npy",
        "emb.sounds.jsonl",
    ]


def test_python_blocks_run(in_a_checkout: Path) -> None:
    blocks = [(language, code) for language, code in code_blocks(README) if language == "python"]
    assert blocks
    names: dict[str, object] = {}
    for language, code in blocks:
        run_block(language, code, names)
    assert names["vector"].shape == (1536,)
    assert names["vector"].dtype == np.float32


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    local = [link.split("#") for link in links if "://" not in link]
    assert len(local) > 10
    for path, *anchor in local:
        assert (ROOT / path).is_file(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[0] in [re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings]


def test_the_table_is_that_of_the_documentation() -> None:
    """Averages of linear probes and neighbours stand in README and docs/quality.md: the same."""
    quality = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    names = ["teachers mn04, speech, voice side by side", "teacher mn04", "aasp-tiny-open-3", "aasp-tiny-pack-1"]
    names += ["log-mel mean and std", "untrained, seed 1"]
    averages = [re.findall(rf"^\| {name} \|.* ([\d.]+) \|$", quality, re.MULTILINE) for name in names]
    rows = re.findall(r"^\| .* \| \**([\d.]+)\** \| \**([\d.]+)\** \|$", README.read_text("utf-8"), re.MULTILINE)
    assert rows == [(linear, neighbours) for linear, neighbours, *_ in averages]
