"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], *, aligned: bool = False) -> str:
    """Return cells as a Markdown table, the first row as its head; cells are escaped.

    Args:
        rows: Cells, row by row.
        aligned: Whether columns line up as text, the first one on the left and the others on the right.
    """
    cells = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
    if not aligned:
        lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in cells]
        return "\n".join([lines[0], "|---" * len(cells[0]) + "|", *lines[1:]])
    first, *others = (max(3, *map(len, column)) for column in zip(*cells, strict=True))
    lines = ["| " + " | ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]) + " |" for row in cells]
    rule = "|" + "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in others)]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
