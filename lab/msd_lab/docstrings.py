"""Draws public docstrings of the extension, for a reader's test: what does each return, when does it fail?

python -m msd_lab.docstrings --seed 1 --count 25
"""

from __future__ import annotations

import argparse
import ast
import random
from collections.abc import Iterator
from pathlib import Path

import threestudio_msd

ROOT = Path(threestudio_msd.__file__).parent
DOCUMENTED = (ast.ClassDef, ast.FunctionDef)


def documented(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef, str]]:
    """Find public classes and functions with a docstring: qualified name, node, docstring."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DOCUMENTED) and not node.name.startswith("_"):
            name, text = f"{prefix}.{node.name}", ast.get_docstring(node)
            if text:
                yield name, node, text
            if isinstance(node, ast.ClassDef):
                yield from documented(node, name)


def signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Format the head of a class, with its annotated fields, or of a function."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"def {node.name}({ast.unparse(node.args)}){returns}"
    fields = [ast.unparse(entry) for entry in node.body if isinstance(entry, ast.AnnAssign)]
    return f"class {node.name}({', '.join(map(ast.unparse, node.bases))}): {'; '.join(fields)}"


def draw(seed: int, count: int) -> list[str]:
    """Draw docstrings by a seed, each as text: qualified name, signature, docstring."""
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        module = ".".join([ROOT.name, *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        found += documented(ast.parse(file.read_text(encoding="utf-8")), module)
    drawn = random.Random(seed).sample(found, min(count, len(found)))
    return [f"{name}\n{signature(node)}\n\n{text}" for name, node, text in drawn]


def main(argv: list[str] | None = None) -> int:
    """Print the drawn docstrings, numbered, and the seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=25)
    args = parser.parse_args(argv)
    print(f"seed {args.seed}")
    for number, text in enumerate(draw(args.seed, args.count), 1):
        print(f"\n{number}. {text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
