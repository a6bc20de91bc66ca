"""Reading YAML with a memory of its lines, so that a refusal can name the one to mend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from recsys.errors import BadInput


def read(path: Path) -> tuple[yaml.Node | None, Any]:
    """A file's syntax tree and its plain data; (None, None) for an empty file.

    Raises:
        BadInput: no such file, not YAML, or a key given twice; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        _refuse_repeats(node, path)
        return node, yaml.safe_load(text)
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise BadInput(f"{path}{where}: {getattr(error, 'problem', None) or 'not YAML'}") from error


def line_of(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """The line (from 1) of the value at a place like ("experiments", 0, "salt"), or of the nearest thing above."""
    line = 1
    for step in place:
        found = _child(node, step)
        if found is None:
            break
        line, node = found
    return line


def _child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key (or of a list's item) and what it holds."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _refuse_repeats(node: yaml.Node | None, path: Path) -> None:
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeats(value, path)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise BadInput(f"{path} line {key.start_mark.line + 1}: {name!r} is given twice")
            seen.add(name)
            _refuse_repeats(value, path)
