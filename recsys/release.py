"""A release is one thing: a folder of parts with a manifest of digests, refused whole if any byte differs.

manifest = seal(folder, version="3", data=lake.versions(), ...)
verify(folder)     # raises ReleaseRefused
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import ReleaseRefused
from recsys.files import sha256

FORMAT = 1
MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """What a release consists of and what it was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    version: str
    files: dict[str, str]  # path inside the release -> sha256
    data: dict[str, int]  # lake table -> version
    until: int  # UTC ms: the newest event that any part may have seen
    config: dict[str, object]  # settings of every component
    metrics: dict[str, float]

    @cached_property
    def digest(self) -> str:
        """One hash for the whole release."""
        lines = "".join(f"{path} {digest}\n" for path, digest in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def seal(
    folder: Path,
    version: str,
    data: dict[str, int],
    until: int,
    config: dict[str, object],
    metrics: dict[str, float],
) -> Manifest:
    """Writes the manifest of everything in `folder`; afterwards no file may change."""
    files = {str(p.relative_to(folder)): sha256(p) for p in _files(folder)}
    manifest = Manifest(version=version, files=files, data=data, until=until, config=config, metrics=metrics)
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone, without checking files.

    Raises:
        ReleaseRefused: no manifest, or one that this version of the code cannot read.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ReleaseRefused(f"release {folder.name}: no {MANIFEST}; build one with `recsys index`") from None
    except ValidationError as error:
        raise ReleaseRefused(
            f"release {folder.name}: unreadable {MANIFEST}: {error.errors()[0]['msg']}"
        ) from None
    if manifest.format != FORMAT:
        raise ReleaseRefused(
            f"release {folder.name}: format {manifest.format}, this code reads {FORMAT}; rebuild it"
        )
    return manifest


def verify(folder: Path) -> Manifest:
    """The manifest, after every file has been found with its digest and nothing else lies beside them.

    Raises:
        ReleaseRefused: naming the first file that is missing, changed or unexpected.
    """
    manifest = read_manifest(folder)
    present = {str(p.relative_to(folder)) for p in _files(folder)}
    for path, digest in sorted(manifest.files.items()):
        if path not in present:
            raise ReleaseRefused(f"release {manifest.version}: {path} is missing")
        if sha256(folder / path) != digest:
            raise ReleaseRefused(f"release {manifest.version}: {path} does not match its digest")
    extra = sorted(present - set(manifest.files))
    if extra:
        raise ReleaseRefused(f"release {manifest.version}: unexpected file {extra[0]}")
    return manifest


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
