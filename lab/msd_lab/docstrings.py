"""Draws public docstrings of the extension, for a reader's test: what does each return, when does it fail?

python -m msd_lab.docstrings --seed 1 --count 25
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import indent

import threestudio_msd

from launcher.script import Parser, whole

ROOT = Path(threestudio_msd.__file__).parent
DOCUMENTED = (ast.ClassDef, ast.FunctionDef)
LEGEND = """Read in every signature:
- Batch: a tensor [B, ...], one render, latent, state or gradient for each of B samples. PerSample: [B].
  Level: a noise level or a bandwidth, 0-d for all samples or [B]. State: tensors [B, ...] by name.
- z = x + sigma n: a clean x with standard normal noise n at the noise level sigma. D(z, sigma): the
  denoiser, an estimate of the clean x, shaped like z. eps = (z - D) / sigma: the estimate of n. abar =
  1 / (1 + sigma^2). t: diffusion time in [0, 1]. lambda (lam): the bandwidth of a Gaussian kernel.
- Renders: [B, H, W, C], channels last. Images: [B, 3, H, W] in [0, 1]. A particle: one of the images or
  scenes optimised together; an index holds the numbers of a batch's particles.
- Prior: a pretrained model under a prompt. Schedule: its noise levels. Noise: a source of N(0, I), called
  with a tensor of the wanted shape. Estimate: a gradient with its target. View: prompt and cameras of a
  batch. Condition: the network's keyword arguments, tensors [N, ...] by name.
- A dataclass's field `x: T = number(default, least=..., above=..., most=..., below=...)` holds a number in
  these bounds, `pair(...)` two ascending ones, `choice(default, options)` one of the options, and
  `scheduled(...)` a number or a scheduled scalar. A dataclass with such fields raises FieldError at
  construction for a value that does not fit; the message begins with the field's name. FieldError is a
  UserError and a ValueError.
- A scheduled scalar of threestudio is [step0, v0, v1, step1]: v0 up to step0, v1 from step1 on, linear in
  between; [v0, v1, step1] starts at step 0; more pairs (value, step) may follow.
- UserError: one line for the user, without a traceback. PriorError is the UserError about a pretrained
  model, NonFiniteError the one about NaN or Inf.
- Without a section "Raises" nothing is checked: only a call of something else can fail."""


def documented(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """Find public classes and functions with a docstring: qualified name and node."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DOCUMENTED) and not node.name.startswith("_"):
            name = f"{prefix}.{node.name}"
            if ast.get_docstring(node):
                yield name, node
            if isinstance(node, ast.ClassDef):
                yield from documented(node, name)


def signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Format the head of a class, with its annotated fields, or of a function, with their decorators."""
    heads = [f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list]
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{''.join(heads)}def {node.name}({ast.unparse(node.args)}){returns}"
    fields = [f"\n    {ast.unparse(entry)}" for entry in node.body if isinstance(entry, ast.AnnAssign)]
    return f"{''.join(heads)}class {node.name}({', '.join(map(ast.unparse, node.bases))}){''.join(fields)}"


def members(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> str:
    """Format what a class offers: its bases, and the signatures and first sentences of its public methods.

    Args:
        node: The class.
        classes: The package's classes by name, among which the bases are looked up.
    """
    order = [node]
    for one in order:  # grows while it is walked
        order += [classes[name] for name in map(ast.unparse, one.bases) if name in classes]
    bases = [f"Base {one.name}: {summary(one)}" for one in order[1:]]
    found: dict[str, tuple[str, str]] = {}
    for one in order:
        for entry in one.body:
            if isinstance(entry, DOCUMENTED) and (entry.name[0] != "_" or entry.name in CALLS):
                head, text = found.get(entry.name, (signature(entry), ""))
                found[entry.name] = head, text or summary(entry)
    offers = [indent(f"{head}\n    {text}".rstrip(), "    ") for head, text in found.values()]
    return "\n".join([*bases, *["Offers:"] * bool(offers), *offers])


CALLS = ("__init__", "__call__", "__iter__", "__getitem__", "__len__")
"""Methods of the language that are part of what a class offers."""


def summary(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Return a docstring's first paragraph on one line; the empty text without a docstring."""
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())


def draw(seed: int, count: int) -> list[str]:
    """Draw docstrings by a seed, each as text: qualified name, signature, docstring, a class's members."""
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        module = ".".join([ROOT.name, *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        found += documented(ast.parse(file.read_text(encoding="utf-8")), module)
    classes = {node.name: node for _, node in found if isinstance(node, ast.ClassDef)}
    drawn = random.Random(seed).sample(found, min(count, len(found)))
    return [described(name, node, classes) for name, node in drawn]


def described(name: str, node: ast.ClassDef | ast.FunctionDef, classes: Mapping[str, ast.ClassDef]) -> str:
    text = f"{name}\n{signature(node)}\n\n{ast.get_docstring(node)}"
    offered = members(node, classes) if isinstance(node, ast.ClassDef) else ""
    return f"{text}\n\n{offered}" if offered else text


def main(argv: list[str] | None = None) -> int:
    """Print the seed, the legend and the drawn docstrings, numbered."""
    parser = Parser(__doc__)
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0)
    parser.add_argument("--count", type=whole(), default=25)
    args = parser.parse_args(argv)
    print(f"seed {args.seed}\n\n{LEGEND}")
    for number, text in enumerate(draw(args.seed, args.count), 1):
        print(f"\n{number}. {text}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
