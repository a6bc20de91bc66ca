"""Reads a page as a browser would: its text, its elements, and whether every element is closed where it must be."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "hr", "input", "link", "wbr"}
JOINT = "\0"
"""Where a word may go on in the next line."""


class PageReader(HTMLParser):
    """`text`, `elements` as (tag, attributes), and `faults` in the nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self._open: list[str] = []
        self._parts: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self._open]
        self.text = " ".join(" ".join(self._parts).replace(f" {JOINT} ", "").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "wbr":
            self._parts.append(JOINT)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self._parts.append(data)

    def of_class(self, name: str) -> list[tuple[str, dict[str, str]]]:
        """Elements with a class."""
        return [(tag, attrs) for tag, attrs in self.elements if name in attrs.get("class", "").split()]
