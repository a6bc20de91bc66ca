"""Documents are tested: links resolve, code compiles, every command is described, no path of one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"!?\[[^\]\[]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```", re.S | re.M)
_FENCED = re.compile(r"^```.*?^```", re.S | re.M)
_MACHINE = re.compile(r"(?<![\w.$])/(?:home|Users|work|root|tmp/[a-z]|opt/[a-z]+)/[\w.-]+")


def tracked() -> list[Path]:
    """Files under version control; all but caches and data where there is no git."""
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode == 0 and run.stdout:
        return [path for name in run.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    skip = {".venv", "var", ".git"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skip & set(p.relative_to(ROOT).parts)]


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def anchors(text: str) -> set[str]:
    """Anchors that a Markdown page offers, as GitHub derives them from its headings."""
    heads = re.findall(r"^#+\s+(.*?)\s*$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_relative_link_leads_somewhere() -> None:
    dead = []
    for page in documents():
        for target in _LINK.findall(_FENCED.sub("", page.read_text())):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            file = (page.parent / unquote(path)) if path else page
            if not file.exists() or (
                anchor and file.suffix == ".md" and anchor not in anchors(file.read_text())
            ):
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert not dead, "\n".join(dead)


def test_python_in_documents_compiles() -> None:
    for page in documents():
        for i, block in enumerate(_BLOCK.findall(page.read_text())):
            compile(block, f"{page.relative_to(ROOT)} block {i}", "exec")


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__) or path.suffix in {".png", ".parquet", ".npz"}:
            continue
        text = path.read_text(errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {m}" for m in _MACHINE.findall(text)]
    assert not found, "\n".join(found)


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {t for p in documents() for t in re.findall(r"(?:^|`)make ([a-z-]+)", p.read_text(), re.M)}
    assert named <= targets, named - targets


def commands() -> list[tuple[str, str]]:
    """Every command of the CLI with its help text, sub-commands spelt out (`release list`)."""
    import typer

    from serving.cli.app import app

    def walk(command: Any, name: str) -> list[tuple[str, str]]:
        subs = getattr(command, "commands", None)
        if subs is None:
            return [(name, command.help or "")]
        return [row for sub, c in subs.items() if not c.hidden for row in walk(c, f"{name} {sub}".strip())]

    return walk(typer.main.get_command(app), "")


def test_every_command_is_documented_and_has_help() -> None:
    manual = (ROOT / "docs" / "cli.md").read_text()
    rows = commands()
    assert rows
    for name, text in rows:
        assert text.strip(), f"`recsys {name}` has no help"
        assert f"recsys {name}" in manual, f"`recsys {name}` is not in docs/cli.md"
