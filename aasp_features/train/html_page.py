"""The style of HTML reports: one page that needs no other files, light or dark, for any width."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template


def html_page(title: str, body: Sequence[str]) -> str:
    """Return a page with a title, plain text, above the parts of its body, HTML."""
    page = resources.files(__package__).joinpath("html_page.html").read_text(encoding="utf-8")
    return Template(page).substitute(title=escape(title), body="\n".join(body))


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str) -> str:
    """Return cells, HTML, as a table; ``kind`` is its class in the page's style."""
    lines = [f'<table class="{kind}"><tr>' + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table>"])
