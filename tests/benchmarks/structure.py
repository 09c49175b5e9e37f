"""Size and shape of the code: ``python tests/benchmarks/structure.py [CHECKOUT …]`` (default: this checkout).

Code lines are those without blanks, comments and docstrings; functions are counted with signature and docstring. A
module with one importer is one that a single other module of the package imports, by its name.
"""

import argparse
import ast
import io
import statistics
import tokenize
from collections import Counter
from itertools import groupby
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
PARTS = ["aasp_features", "tests"]
COLUMNS = ["files", "lines", "code lines", "functions", "90 % of them at most", "longest file", "with one importer"]


class File:
    """A file, read once."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        nodes = list(ast.walk(ast.parse(text)))
        self.path, self.lines = path, text.count("\n")
        self.code_lines = count_code_lines(text, nodes)
        self.functions = [
            (one.end_lineno or one.lineno) - one.lineno + 1 for one in nodes if isinstance(one, ast.FunctionDef)
        ]
        self.imports: set[str] = set()  # a.b and a.b.c of "from a.b import c"
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                self.imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                self.imports |= {alias.name for alias in node.names}


def count_code_lines(text: str, nodes: list[ast.AST]) -> int:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in nodes:
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def describe(files: list[File]) -> list[object]:
    lengths = [length for file in files for length in file.functions]
    longest = max(files, key=lambda file: file.lines)
    return [
        len(files),
        sum(file.lines for file in files),
        sum(file.code_lines for file in files),
        len(lengths),
        round(statistics.quantiles(lengths, n=10)[-1]),
        f"{longest.lines} ({longest.path.name})",
    ]


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


def print_tables(checkout: Path) -> None:
    """Print a table of the parts, and one of the package's folders."""
    print(f"\n{checkout}\n")
    row("part", *COLUMNS)
    row(*["---"] * (len(COLUMNS) + 1))
    found = {part: sorted((checkout / part).rglob("*.py"), key=lambda path: (path.parent, path)) for part in PARTS}
    files = {part: [File(path) for path in paths] for part, paths in found.items()}
    importers = Counter(name for file in files["aasp_features"] for name in file.imports)
    for part, own in files.items():
        train = [file for file in own if checkout / part / "train" in file.path.parents]
        others = [file for file in own if file not in train]
        for name, chosen in ((f"{part} without train", others), (f"{part}/train", train), (part, own)):
            modules = [".".join(file.path.relative_to(checkout).with_suffix("").parts) for file in chosen]
            row(name, *describe(chosen), sum(importers[module] == 1 for module in modules))
    print()
    row("folder", "files", "lines")
    row("---", "---", "---")
    folders = groupby(files["aasp_features"], key=lambda file: file.path.parent.relative_to(checkout))
    for folder, held in folders:
        lines = [file.lines for file in held]
        row(folder, len(lines), sum(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[CHECKOUT])
    for checkout in parser.parse_args().checkouts:
        print_tables(checkout.resolve())


if __name__ == "__main__":
    main()
