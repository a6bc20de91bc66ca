"""What is public says what it is: modules have a docstring, public functions are typed, files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("recsys", "models", "ranking", "bandits", "experiments", "serving", "platform/music")
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def trees() -> Iterator[tuple[Path, str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            yield path.relative_to(ROOT), text, ast.parse(text)


def functions(body: list[ast.stmt]) -> Iterator[FunctionNode]:
    for node in body:
        if isinstance(node, FunctionNode):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body)


def untyped(function: FunctionNode) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    named = [a for a in arguments if a.arg not in ("self", "cls")]
    return function.returns is None or any(a.annotation is None for a in named)


def test_every_module_opens_by_saying_what_it_is() -> None:
    silent = [str(path) for path, text, tree in trees() if text.strip() and not ast.get_docstring(tree)]
    assert not silent


def test_every_public_class_and_long_public_function_says_what_it_is() -> None:
    silent = [
        f"{path}:{node.lineno} {node.name}"
        for path, _, tree in trees()
        for node in [*classes(tree), *(f for f in functions(tree.body) if lines(f) > 15)]
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not silent, "\n".join(silent)


def classes(tree: ast.Module) -> list[ast.ClassDef]:
    """Public classes that must speak for themselves: all but enumerations, and settings beside the one class
    of a module, for which the module's docstring speaks."""
    found = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    found = [n for n in found if not any("Enum" in ast.unparse(base) for base in n.bases)]
    main = [n for n in found if not n.name.endswith("Settings")]
    return main if len(main) > 1 else []


def lines(node: FunctionNode) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_public_functions_are_annotated() -> None:
    bare = [
        f"{path}:{f.lineno} {f.name}"
        for path, _, tree in trees()
        for f in functions(tree.body)
        if not f.name.startswith("_") and untyped(f)
    ]
    assert not bare, "\n".join(bare)


def test_names_in_all_exist() -> None:
    missing = []
    for path, _, tree in trees():
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        names |= {n.name for n in tree.body if isinstance(n, FunctionNode | ast.ClassDef)}
        names |= {
            a.asname or a.name
            for n in tree.body
            if isinstance(n, ast.ImportFrom | ast.Import)
            for a in n.names
        }
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
                missing += [f"{path}: {name}" for name in ast.literal_eval(node.value) if name not in names]
    assert not missing


def test_files_stay_under_400_lines() -> None:
    long = [f"{path}: {n} lines" for path, text, _ in trees() if (n := text.count("\n")) > 400]
    assert not long, "\n".join(long)


def test_functions_stay_under_60_lines() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}: {lines(node)} lines"
        for path, _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, FunctionNode) and lines(node) > 60
    ]
    assert not long, "\n".join(long)
