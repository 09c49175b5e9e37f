"""Size and shape of the code: how long files and functions are, and how often control is inverted.

``python tests/benchmarks/structure.py [PACKAGE …]``; a package is a folder of modules, this checkout's unless given.
"""

import argparse
import ast
import statistics
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "aasp_features"


def function_lengths(tree: ast.AST) -> list[int]:
    """Lines of every function, signature and docstring included."""
    return [node.end_lineno - node.lineno + 1 for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def generic_classes(tree: ast.AST) -> int:
    """Classes with type parameters, protocols among them."""
    return sum(
        any(isinstance(base, ast.Subscript) or getattr(base, "id", "") == "Protocol" for base in node.bases)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )


def closures_passed(tree: ast.AST) -> int:
    """Lambdas and functions inside functions that are handed to a call, or returned."""
    inner = {
        nested.name
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef)
        for nested in ast.walk(outer)
        if isinstance(nested, ast.FunctionDef) and nested is not outer
    }
    count = 0
    for node in ast.walk(tree):
        values = []
        if isinstance(node, ast.Call):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Return) and node.value is not None:
            values = [node.value]
        count += sum(isinstance(one, ast.Lambda) or getattr(one, "id", None) in inner for one in values)
    return count


def describe(package: Path) -> str:
    paths = sorted(package.rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    trees = [ast.parse(text) for text in texts]
    lines = [text.count("\n") for text in texts]
    lengths = [length for tree in trees for length in function_lengths(tree)]
    longest = paths[lines.index(max(lines))]
    cells = [
        len(paths),
        sum(lines),
        f"{max(lines)} ({longest.relative_to(package)})",
        f"{statistics.median(lengths):.0f}",
        f"{statistics.quantiles(lengths, n=10)[-1]:.0f}",
        sum(map(generic_classes, trees)),
        sum(map(closures_passed, trees)),
    ]
    return f"| {package} | " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", type=Path, default=[PACKAGE])
    print("| package | files | lines | longest file | function, median | 90 % | generic classes | closures passed |")
    print("|---|---|---|---|---|---|---|---|")
    for package in parser.parse_args().packages:
        print(describe(package))


if __name__ == "__main__":
    main()
