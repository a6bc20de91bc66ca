"""What a killed rewrite of a segment left is removed when the log is next opened, and never a living one's."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from recsys.eventlog import LocalEventLog
from recsys.eventlog.rewrite import seal_old
from recsys.vault import Vault
from tests.eventlog.samples import play

ROOT = Path(__file__).parents[2]
REWRITER = """
    import sys
    from pathlib import Path
    from recsys.eventlog.segments import begun_copy
    copy = begun_copy(Path(sys.argv[1]))
    copy.write(b"half")
    copy.flush()
    print("begun", flush=True)
    sys.stdin.readline()
"""


def test_a_copy_that_a_killed_process_began_is_removed_and_one_being_written_stays(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path)
    log.append([play(i) for i in range(3)])
    [segment] = log.segments()
    rewriter = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(REWRITER), str(segment)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert rewriter.stdout is not None
    assert rewriter.stdout.readline() == b"begun\n"
    LocalEventLog(tmp_path)
    [copy] = tmp_path.glob(".*.seg.*")
    assert copy.read_bytes() == b"half"
    rewriter.kill()
    rewriter.communicate()
    (tmp_path / f".{segment.name}.1").write_bytes(b"of a process whose number another has by now")
    assert [record.event for record in LocalEventLog(tmp_path).read()] == [play(i) for i in range(3)]
    assert not list(tmp_path.glob(".*.seg.*"))


def test_a_rewrite_that_ends_leaves_nothing_beside_the_segment(tmp_path: Path) -> None:
    LocalEventLog(tmp_path / "log").append([play(i) for i in range(3)])
    vault = Vault(tmp_path / "vault")
    assert seal_old(LocalEventLog(tmp_path / "log", vault=vault), vault) == 3
    assert not list((tmp_path / "log").glob(".*"))
