"""The page: what it shows is what scikit-learn counts, and nothing in a name can break it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from evaluate_helpers import features_of, made_task
from sklearn.metrics import confusion_matrix

from aasp_features.train.evaluate.classifier import logistic_regression
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.probe import ProbeResult, probe
from aasp_features.train.evaluate.report_page import margin, report_page
from aasp_features.train.evaluate.task import Task

pytestmark = pytest.mark.usefixtures("one_penalty")


class Cells(HTMLParser):
    """Texts of table cells, the sources of players, and whether every element was closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.players: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "audio":
            self.players.append(str(dict(attrs)["src"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data


def measured(strength: float = 1.0) -> tuple[Task, ProbeResult]:
    task = made_task(150, 50)
    return task, probe(features_of(task, strength), task, logistic_regression)


def test_the_page_shows_them_and_the_worst_clips(tmp_path: Path) -> None:
    task, result = measured()
    page = Cells(report_page([task], {"ours": {task.name: result}}, "Logistic regression", False, tmp_path))
    assert page.open == []
    matrix = confusion_matrix(task.labels[result.tested], result.predicted)
    first = page.cells.index(task.classes[0], page.cells.index(task.classes[-1]))
    assert page.cells[first + 1 : first + 1 + len(task.classes)] == [str(count or "") for count in matrix[0]]
    margins, _ = margin(task, result)
    expected = [task.files[result.tested[place]] for place in np.argsort(margins, kind="stable")[:12]]
    assert [(tmp_path / unquote(source)).resolve() for source in page.players] == [path.resolve() for path in expected]


def test_margins_of_several_labels(tmp_path: Path) -> None:
    task, result = measured()
    labels = np.array([[True, True, False], [False, False, True]])
    scores = np.array([[0.9, 0.2, 0.4], [0.1, 0.2, 0.8]])
    multi_label = replace(task, labels=labels, metric=MEAN_AVERAGE_PRECISION, files=task.files[:2])
    found = replace(result, tested=np.arange(2), scores=[scores])
    margins, guesses = margin(multi_label, found)
    np.testing.assert_allclose(margins, [0.2 - 0.4, 0.8 - 0.2])
    assert guesses.tolist() == [2, 1]
    page = report_page([multi_label], {"ours": {multi_label.name: found}}, "Linear layer", True, tmp_path)
    assert len(Cells(page).players) == 1
    assert "Confusion matrix" not in page
    assert "without the last fold" in page


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    task, result = measured()
    classes = ('<script>alert("a")</script>', "b & c", 'd" onclick="x')
    files = [Path("/sounds/<b>'\"&?#%\udce9.wav")] * len(task.files)
    odd = replace(task, name="<i>$title", classes=classes, files=files)
    page = report_page([odd], {"<u>": {odd.name: result}}, "<q>", False, tmp_path)
    page.encode("utf-8")
    assert not re.search(r"<(script|i|b|u|q)>", page)
    read = Cells(page)
    assert set(classes) <= set(read.cells)
    assert all(unquote(source, errors="surrogateescape").endswith(files[0].name) for source in read.players)


def test_backticks_are_code_and_values_have_one_decimal(tmp_path: Path) -> None:
    task, result = measured()
    page = report_page([task], {"ours, `mean+std` <b>": {task.name: result}}, "Linear layer", False, tmp_path)
    assert "`" not in page
    assert "ours, <code>mean+std</code> &lt;b&gt;" in page
    (row,) = re.findall(r"<tr><td>ours.*</tr>", page)
    assert re.sub(r"[\d]+\.\d(?!\d)", "N", re.sub("<.*?>", "", row.partition("</td>")[2])) == "N (N–N)N"


def contrast(color: str, background: str, paper: str) -> float:
    """WCAG's contrast of a colour on a background that lets the paper through, each as a browser computes it."""

    def numbers(text: str) -> np.ndarray:
        found = [float(number) for number in re.findall(r"[\d.]+", text)]
        return np.array([*found, 1.0][:4])

    def luminance(rgb: np.ndarray) -> float:
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    *shade, alpha = numbers(background)
    behind = alpha * np.array(shade) + (1 - alpha) * numbers(paper)[:3]
    low, high = sorted(luminance(rgb / 255) for rgb in (numbers(color)[:3], behind))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_digits_are_readable_and_clips_play(browser: object, tmp_path: Path, scheme: str) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    task, result = measured()
    soundfile.write(tmp_path / "a b.wav", np.zeros(800), 8000)
    task = replace(task, files=[tmp_path / "a b.wav"] * len(task.files))
    right = replace(result, scores=[np.eye(3)[task.labels[result.tested]]])
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    colors = []
    for found in (right, result):
        page = report_page([task], {"ours": {task.name: found}}, "Linear layer", False, tmp_path)
        (tmp_path / "report.html").write_text(page, encoding="utf-8")
        browser.get((tmp_path / "report.html").as_uri())
        colors += browser.execute_script(
            "const paper = getComputedStyle(document.body).backgroundColor;"
            "return [...document.querySelectorAll('td, td small, p')].map(cell => getComputedStyle(cell))"
            ".map(style => [style.color, style.backgroundColor, paper])"
        )
    assert min(contrast(*color) for color in colors) >= 4.5
    player = browser.find_element("tag name", "audio")
    browser.execute_script("arguments[0].play()", player)
    WebDriverWait(browser, 60).until(lambda _: browser.execute_script("return arguments[0].ended", player))
