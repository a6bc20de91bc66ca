"""Reading YAML with a memory of its lines, so that a refusal can name the one to mend.

sources = Sources.read(Path("experiments"))     # a file, or a folder of *.yaml: one config in several files
sources.data, sources.place(("experiments", 0, "salt"))

YAML 1.2's core schema: `NO` is a text (and not false), times are texts. Anchors, aliases and tags are refused, and so
are great or deep files: a config needs none of them, and they are how YAML is made to explode.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from recsys.errors import BadInput

MOST_BYTES = 1_000_000
MOST_DEPTH = 24
MOST_SAID = 400
"""Characters of a message."""
Loc = Sequence[str | int]


@dataclass(frozen=True)
class Problem:
    """Something to mend: where, and what."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        """One line of print, whatever stood in the file."""
        said = "".join(c if c.isprintable() else " " for c in self.message)
        said = said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]} ..."
        return f"{self.path} line {self.line}: {said}"


class Refused(BadInput):
    """A config that cannot be used; the message is its first problem, `problems` are all that were found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(" ".join(str(problems[0]).split()) + more)


class _Loader(yaml.SafeLoader):
    """Composes without anchors, aliases, tags or endless nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=mark)
        if getattr(event, "tag", None) is not None:
            problem = f"tags are not allowed: {event.tag}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MOST_DEPTH}", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_CORE = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]{1,18}", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
}
_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), [*_first, *([""] * (_name == "null"))]
    )


@dataclass(frozen=True)
class Source:
    """One file: its text, its syntax tree and its plain data."""

    path: Path
    text: str
    node: yaml.Node | None
    data: Any

    @classmethod
    def read(cls, path: Path) -> Source:
        """Reads one file.

        Raises:
            Refused: not YAML, too great, or a key given twice; names the line.
            BadInput: no such file, or not UTF-8.
        """
        try:
            if path.stat().st_size > MOST_BYTES:
                raise Refused([Problem(path, 1, f"larger than {MOST_BYTES:,} bytes")])
            return cls.parse(path.read_text(encoding="utf-8"), path)
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"{path} is not UTF-8 text") from error

    @classmethod
    def parse(cls, text: str, path: Path) -> Source:
        """The same of a text; `path` is what messages call it."""
        try:
            node = yaml.compose(text, _Loader)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise Refused([Problem(path, line, "a character that YAML does not allow")]) from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "not YAML"
            raise Refused([Problem(path, mark.line + 1 if mark else 1, problem)]) from error
        return cls(path, text, node, None if node is None else _plain(node, path))

    def line(self, loc: Loc) -> int:
        """The line (from 1) of the value at a place, or of the nearest thing above it."""
        line, node = 1, self.node
        for step in loc:  # steps that are not in the file (a missing key) are passed over
            found = child(node, step)
            if found is not None:
                line, node = found
        return line


@dataclass(frozen=True)
class Sources:
    """One config, from one file or several; sections that are lists are joined in the order of file names."""

    files: tuple[Source, ...]

    @classmethod
    def read(cls, path: Path) -> Sources:
        """A file, or every *.yaml of a folder; raises like `Source.read`, of all files at once."""
        paths = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        files, problems = [], []
        for one in paths:
            try:
                files.append(Source.read(one))
            except Refused as error:
                problems += error.problems
        if problems:
            raise Refused(problems)
        return cls(tuple(files))

    @property
    def data(self) -> dict[str, Any]:
        """All sections.

        Raises:
            Refused: a file, or a section, that is not of the right form.
        """
        merged: dict[str, Any] = {}
        for file in self.files:
            if file.data is not None and not isinstance(file.data, dict):
                raise Refused([Problem(file.path, 1, "sections are wanted, like `experiments:`")])
            for section, items in (file.data or {}).items():
                if not isinstance(items, list | None):
                    raise Refused([Problem(file.path, file.line([section]), f"{section}: a list is wanted")])
                merged.setdefault(section, []).extend(items or [])
        return merged

    def place(self, loc: Loc) -> tuple[Path, int]:
        """The file and line of a place in `data`."""
        section, *rest = loc or ("",)
        passed = rest[0] if rest and isinstance(rest[0], int) else 0
        for file in self.files:
            items = (file.data or {}).get(section)
            if items is None:
                continue
            if not rest or passed < len(items):
                return file.path, file.line([section, passed, *rest[1:]] if rest else [section])
            passed -= len(items)
        return (self.files[0].path if self.files else Path("experiments")), 1


def child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key (or of a list's item) and what it holds; None where there is none."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _plain(node: yaml.Node, path: Path) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, path) for value in node.value]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path)
    kind, text = node.tag.rpartition(":")[2], str(node.value)
    if kind == "str":
        return _text(node, path)
    if kind == "null":
        return None
    if kind == "float" and not isfinite(float(text)):
        raise Refused([Problem(path, node.start_mark.line + 1, "a number too great to be read")])
    return text.lower() == "true" if kind == "bool" else int(text) if kind == "int" else float(text)


def _text(node: yaml.Node, path: Path) -> str:
    """A scalar's text; escapes can write halves of a character, which no other system could read."""
    text = str(node.value)
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise Refused([Problem(path, node.start_mark.line + 1, "half a character: not valid Unicode")])
    return text


def _mapping(node: yaml.MappingNode, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Refused([Problem(path, line, "a key must be a text")])
        if _text(key, path) in found:
            raise Refused([Problem(path, line, f"{key.value!r} is given twice")])
        found[key.value] = _plain(value, path)
    return found
