"""Every block of code in the documentation runs, in the order of its page, in a folder that holds ``sounds/``."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from code_blocks import code_blocks, run_block

from aasp_features.train.pretrain import loop as pretraining_loop
from aasp_features.train.run import loop as run_loop

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
NEEDED = {
    "guides/folders.md": ["pyarrow", "sklearn", "h5py"],
    "guides/frames.md": ["pyarrow"],
    "guides/search.md": ["sklearn", "lancedb"],
    "guides/fine_tuning.md": ["omegaconf", "sklearn", "matplotlib"],
    "guides/own_loop.md": ["transformers", "accelerate", "lightning"],
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


def test_the_tests_that_show_each_form_exist() -> None:
    text = (DOCS / "interfaces.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+/)?(test_\w+)\.py::(test_\w+)`", text)
    assert len(named) > 10
    for folder, file, test in named:
        assert f"\ndef {test}(" in (ROOT / "tests" / folder / f"{file}.py").read_text(encoding="utf-8"), test


@pytest.mark.usefixtures("few_epochs", "few_modulations")
@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(DOCS / page)])
def test_blocks_run(
    page: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """With quick checkpoints, except where training starts from one; the README's code has the real one.

    Linear layers and the reading of modulations are small ones, and the clock of pre-training is four times as fast.
    """
    for module in NEEDED.get(page, []):
        pytest.importorskip(module)
    if page == "guides/own_loop.md":
        request.getfixturevalue("transformers_audio")
    if page != "guides/distillation.md":
        request.getfixturevalue("plain_patches" if page == "guides/hub.md" else "shallow")
    for module in (pretraining_loop, run_loop):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 4 * time.monotonic()))
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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning is an error."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_names_the_interface_and_fetches_nothing(site: Path) -> None:
    api = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    for name in ("AaSPEncoder.embed_frames", "EmbeddingStream.push", "RunOptions", "OnnxEncoder"):
        assert name in api
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>", text), page


def test_search_works_from_opened_files(site: Path, browser: object) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get((site / "guides" / "folders.html").as_uri())
    ActionChains(browser).send_keys("/").pause(1).send_keys("libc10_cuda").perform()
    links = WebDriverWait(browser, 60).until(lambda _: browser.find_elements("css selector", ".md-search-result__link"))
    assert links[0].get_attribute("href").partition("?")[0].startswith((site / "faq.html").as_uri())
    links[0].click()
    WebDriverWait(browser, 60).until(lambda _: "torchaudio" in browser.find_element("tag name", "article").text)
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
