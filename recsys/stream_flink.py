"""The stream job on Apache Flink: the same listener states from the same log, keyed over parallel workers.

    python -m recsys.stream_flink export HOME EVENTS   # a line an event, its log offset before it
    python -m recsys.stream_flink run EVENTS OUT       # in an environment with apache-flink (`make flink`)

OUT gets a line a listener: the encoded state (`states`). The definition is recsys.features.state, imported here as
everywhere; Flink brings the keyed state, the shuffle and the recovery.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recsys.engines import open_log
from recsys.events import Event
from recsys.features.state import apply, decode, encode, merge
from recsys.home import Home
from recsys.ports import EventLog
from recsys.schemas import OF_THE_SERVER
from recsys.state_tail import TAIL_BYTES
from recsys.types import UserState

_END = 2**63 - 2
"""An event time that no event reaches: its timer fires when a bounded input has ended."""


def export(log: EventLog, folder: Path, rows: int = 100_000) -> int:
    """Writes a log as Flink reads it, in files of `rows` lines; returns the lines written."""
    folder.mkdir(parents=True, exist_ok=True)
    total, records = 0, log.read(skip=OF_THE_SERVER)
    for total, record in enumerate(records, 1):
        if total % rows == 1:
            file = (folder / f"{total:012d}.txt").open("w")
        file.write(f"{record.offset}\t{record.event.model_dump_json(exclude_none=True)}\n")
        if total % rows == 0:
            file.close()
    if total % rows:
        file.close()
    return total


def states(folder: Path) -> Iterator[UserState]:
    """What a job wrote into its folder."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        with path.open("rb") as lines:
            for line in lines:
                yield decode(line)


def job(source: Path, out: Path, parallelism: int = 1) -> None:
    """Runs to the end of the exported events. Raises ImportError without Flink."""
    from pyflink.common import Encoder, Types, WatermarkStrategy
    from pyflink.datastream import RuntimeExecutionMode, StreamExecutionEnvironment
    from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat

    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.set_python_executable(sys.executable)
    environment.set_runtime_mode(RuntimeExecutionMode.BATCH)
    environment.set_parallelism(parallelism)
    files = FileSource.for_record_stream_format(StreamFormat.text_line_format(), source.resolve().as_uri())
    lines = environment.from_source(files.build(), WatermarkStrategy.no_watermarks(), "log")
    keyed = lines.map(_with_user, Types.TUPLE([Types.STRING(), Types.STRING()])).key_by(lambda row: row[0])
    sink = FileSink.for_row_format(out.resolve().as_uri(), Encoder.simple_string_encoder())
    keyed.process(_folding(), Types.STRING()).sink_to(sink.build())
    environment.execute("listener states")


def _with_user(line: str) -> tuple[str, str]:
    """The listener's id stands at the same place of every exported event: it is found without decoding."""
    at = line.index('"user_id":"') + 11
    return line[at : at + 22], line


def _folding() -> Any:
    """The keyed operator: a large part and a tail as in recsys.state_tail, given out when the input has ended."""
    from pyflink.common import Types
    from pyflink.datastream import KeyedProcessFunction
    from pyflink.datastream.state import ValueStateDescriptor

    class Fold(KeyedProcessFunction):  # type: ignore[misc]
        def open(self, runtime_context: Any) -> None:
            kind = Types.PICKLED_BYTE_ARRAY()
            self.large = runtime_context.get_state(ValueStateDescriptor("large", kind))
            self.tail = runtime_context.get_state(ValueStateDescriptor("tail", kind))

        def process_element(self, value: tuple[str, str], ctx: Any) -> None:
            user_id, line = value
            offset, _, body = line.partition("\t")
            old = self.tail.value()
            if old is None:
                ctx.timer_service().register_event_time_timer(_END)
            tail = apply(_decoded(user_id, old), [Event.model_validate_json(body)], int(offset))
            data = encode(tail)
            if len(data) > TAIL_BYTES:
                self.large.update(encode(merge(_decoded(user_id, self.large.value()), tail)))
                data = b""
            self.tail.update(data)

        def on_timer(self, _timestamp: int, ctx: Any) -> Iterator[str]:
            user_id = ctx.get_current_key()
            both = merge(_decoded(user_id, self.large.value()), _decoded(user_id, self.tail.value()))
            yield encode(both).decode()

    return Fold()


def _decoded(user_id: str, data: bytes | None) -> UserState:
    return decode(data) if data else UserState(user_id)


def main(what: str, source: str, target: str) -> None:
    """What the module runs; raises ValueError for anything but `export` and `run`."""
    if what == "export":
        log = open_log(Home.of(source))
        print(f"{export(log, Path(target))} events in {target}")
        log.close()
    elif what == "run":
        job(Path(source), Path(target))
    else:
        raise ValueError(f"{what!r}: export or run")


if __name__ == "__main__":
    main(*sys.argv[1:])
