"""The page: what it shows is what scikit-learn counts, and nothing in a name can break it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from evaluate_helpers import features_of, made_task
from sklearn.metrics import confusion_matrix

from aasp_features.train.evaluate.logistic import logistic_regression
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.probe import ProbeResult, probe
from aasp_features.train.evaluate.report_page import margin, report_page
from aasp_features.train.evaluate.task import Task


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
    several = replace(task, labels=labels, metric=MEAN_AVERAGE_PRECISION, files=task.files[:2])
    found = replace(result, tested=np.arange(2), scores=[scores])
    margins, guesses = margin(several, found)
    np.testing.assert_allclose(margins, [0.2 - 0.4, 0.8 - 0.2])
    assert guesses.tolist() == [2, 1]
    page = report_page([several], {"ours": {several.name: found}}, "Linear layer", True, tmp_path)
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
