"""Tables in Markdown."""

from aasp_features.train.markdown import table

ROWS = [["", "a|b"], ["x\ny", "12345"], ["z", ""]]


def test_cells_are_escaped() -> None:
    assert table(ROWS).splitlines() == ["| | a\\|b |", "|---|---|", "| x y | 12345 |", "| z | |"]


def test_columns_line_up() -> None:
    lines = table(ROWS, aligned=True).splitlines()
    assert lines == ["|     |  a\\|b |", "|-----|------:|", "| x y | 12345 |", "| z   |       |"]
