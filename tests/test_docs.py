"""Every block of code in the documentation runs, in the order of its page, in a folder that holds ``sounds/``."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from code_blocks import code_blocks, run_block

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
NEEDED = {
    "guides/folders.md": ["pyarrow", "sklearn", "h5py"],
    "guides/frames.md": ["pyarrow"],
    "guides/search.md": ["sklearn"],
    "guides/fine_tuning.md": ["omegaconf", "sklearn", "matplotlib"],
    "guides/hub.md": ["transformers", "onnx", "onnxruntime", "onnxscript"],
    "guides/big_corpora.md": ["ray"],
    "guides/pre_training.md": ["omegaconf"],
    "guides/evaluation.md": ["omegaconf", "sklearn"],
    "guides/distillation.md": ["omegaconf", "sklearn", "onnx", "onnxruntime", "onnxscript"],
    "how_aape_works.md": ["matplotlib"],
}


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {"index.md", "interfaces.md", *NEEDED} <= set(PAGES)
    assert [page for page in PAGES if f": {page}\n" not in navigation] == []


@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(DOCS / page)])
def test_blocks_run(page: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in NEEDED.get(page, []):
        pytest.importorskip(module)
    shutil.copytree(sounds, tmp_path / "sounds")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    ran = 0
    try:
        for language, code in code_blocks(DOCS / page):
            run_block(language, code, names)
            ran += 1
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
    assert ran == (DOCS / page).read_text(encoding="utf-8").count("```") // 2  # none was passed over


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
