"""Where each consumer group of the embedded event log goes on: one file a group, replaced atomically."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from recsys.errors import BadInput
from recsys.files import sync_folder


def read_commit(folder: Path, group: str) -> int:
    """The committed offset, 0 at first."""
    path = folder / checked_group(group)
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0
    except ValueError:
        raise BadInput(f"{path} is damaged: write the offset to go on from into it") from None


def write_commit(folder: Path, group: str, offset: int) -> None:
    """Durable once this returns; raises OSError where it cannot be written."""
    path = folder / checked_group(group)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    with draft.open("w") as file:
        file.write(str(offset))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(folder)


def check_commits(folder: Path, end: int) -> None:
    """Consumers read durable records only, so one that is ahead of the log proves a loss.

    Raises:
        BadInput: a group has read beyond `end`.
    """
    for path in folder.glob("*"):
        if not path.name.isidentifier():
            continue  # a draft that a killed process left
        offset = read_commit(folder, path.name)
        if offset > end:
            raise BadInput(
                f"the event log beside {folder} ends at {end}, but consumer {path.name!r} had read up to "
                f"{offset}: restore the missing segments from a backup"
            )


def checked_group(group: str) -> str:
    """The name; raises BadInput where it could not be one."""
    if not group.isidentifier():
        raise BadInput(f"consumer group {group!r}: use letters, digits and underscores")
    return group
