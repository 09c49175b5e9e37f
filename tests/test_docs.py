"""Every block of code in the documentation runs, in the order of its page, in a folder that holds ``sounds/``."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NEEDED = {
    "guides/folders.md": ["pyarrow", "sklearn"],
    "guides/frames.md": ["pyarrow"],
    "guides/search.md": ["sklearn"],
    "guides/fine_tuning.md": ["sklearn"],
    "guides/hub.md": ["transformers", "onnx", "onnxruntime", "onnxscript"],
    "guides/big_corpora.md": ["ray"],
    "guides/pre_training.md": ["omegaconf"],
    "guides/distillation.md": ["omegaconf", "sklearn", "onnx", "onnxruntime", "onnxscript"],
    "how_aape_works.md": ["matplotlib"],
}


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run_shell(code: str, folder: Path) -> None:
    code = re.sub(r"^pip install .*$", "", code, flags=re.MULTILINE)  # tests install nothing
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True
    )
    assert done.returncode == 0, f"{code}\n{done.stderr.decode()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT / "docs").as_posix())
def test_blocks_run(page: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in NEEDED.get(page.relative_to(ROOT / "docs").as_posix(), []):
        pytest.importorskip(module)
    shutil.copytree(sounds, tmp_path / "sounds")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for language, code in blocks(page):
        assert language in ("python", "sh"), f"a block of {language} is not run"
        if language == "sh":
            run_shell(code, tmp_path)
        else:
            exec(compile(code, str(page), "exec"), names)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    for name in ("AaSPEncoder.embed_frames", "EmbeddingStream.push", "RunOptions", "OnnxEncoder"):
        assert name in api
