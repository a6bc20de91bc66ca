"""One Kafka topic of one partition: made where it is missing, written with acks=all, read up to its end.

topic = Topic(KafkaSettings(servers="host:9092", topic="events"))
offsets = topic.produce(entries)
for message in topic.fetch(0, None): ...
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recsys.errors import BadInput, LogUnavailable
from recsys.eventlog.frame import Entry
from recsys.eventlog.sealing import is_sealed, kind_in_clear

logger = logging.getLogger(__name__)
_BODY = "body"  # header: the 8-byte digest of what the event says
_KIND = "kind"  # header: the event's kind, so that a reader who leaves it out need not decode the event
_VAULT = "vault"  # header: whose keys sealed the record
_IDLE_READERS = 4


class KafkaSettings(BaseModel):
    """Where the topic is. `options` go to librdkafka as they are (security.protocol, sasl.username, ...)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    servers: str
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
    horizon_events: Annotated[int, Field(ge=1)] = 1_000_000  # an id is known for at least so many records
    timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    replication: int = -1  # of a topic made here; -1 is the broker's own default
    message_bytes: Annotated[int, Field(ge=1000)] = 10_000_000
    options: dict[str, str] = {}

    @classmethod
    def of_url(cls, url: str) -> KafkaSettings:
        """From kafka://host:port,host:port/topic?horizon_events=...&security.protocol=...

        Raises:
            BadInput: not such a URL.
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        options = {name: query.pop(name) for name in list(query) if "." in name}
        fields: dict[str, Any] = {**query, "options": options}
        try:
            return cls(servers=parts.netloc, topic=parts.path.strip("/"), **fields)
        except (ValidationError, TypeError) as error:
            reason = error.errors()[0]["loc"] if isinstance(error, ValidationError) else error
            raise BadInput(f"not a URL like kafka://host:9092/topic ({reason})") from None


@dataclass(frozen=True)
class Message:
    """One record as the topic holds it."""

    offset: int
    event_id: bytes
    body: int
    line: bytes
    kind: str = ""  # empty where its writer did not say
    vault: bytes = b""  # (16 bytes) identity of the vault that sealed it; empty where its writer did not say


class Topic:
    """Access to the topic; `produce` by one thread at a time, `fetch` by any number."""

    def __init__(self, settings: KafkaSettings, vault: bytes = b"") -> None:
        """Connects, and makes the topic where it is missing.

        Args:
            vault: identity of the vault that seals what is produced; goes with each sealed record.

        Raises:
            BadInput: the topic has several partitions, or the confluent-kafka package is not installed.
            LogUnavailable: no broker answers.
        """
        try:
            import confluent_kafka as kafka
            from confluent_kafka import admin
        except ImportError:
            raise BadInput('Kafka needs one more package: pip install "recsys[engines]"') from None
        self._kafka, self._settings, self._vault = kafka, settings, vault
        self._base = {"bootstrap.servers": settings.servers, "logger": logger, **settings.options}
        self._admin = admin.AdminClient(self._base)
        self._producer: Any = None
        self._idle: list[Any] = []  # readers that are connected and read nothing
        self._place = kafka.TopicPartition(settings.topic, 0)
        with self._answered():
            self._make(admin.NewTopic)
            described = self._admin.describe_topics(kafka.TopicCollection([settings.topic]))
            about = described[settings.topic].result(settings.timeout_seconds)
            cluster = self._admin.list_topics(settings.topic, timeout=settings.timeout_seconds).cluster_id
        if len(about.partitions) != 1:
            raise BadInput(
                f"topic {settings.topic} has {len(about.partitions)} partitions: it needs exactly one"
            )
        self.identity = f"{cluster}.{about.topic_id}"

    def _make(self, new_topic: Any) -> None:
        settings = self._settings
        config = {"retention.ms": "-1", "max.message.bytes": str(settings.message_bytes)}
        topic = new_topic(settings.topic, 1, settings.replication, config=config)
        try:
            self._admin.create_topics([topic])[settings.topic].result(settings.timeout_seconds)
        except self._kafka.KafkaException as error:
            if error.args[0].code() != self._kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def check(self, entries: Sequence[Entry]) -> None:
        """Raises BadInput where an entry is larger than the topic takes."""
        for entry in entries:
            if len(entry.line) > self._settings.message_bytes - 1000:
                raise BadInput(f"an event of {len(entry.line)} bytes is larger than the topic takes")

    def produce(self, entries: Sequence[Entry]) -> list[int]:
        """Offsets of the entries, in their order, once all in-sync replicas have them.

        Raises:
            LogUnavailable: not all were acknowledged in time; some may yet turn up in the topic.
        """
        offsets: list[int] = [-1] * len(entries)
        problems: list[Any] = []

        def done(place: int, error: Any, message: Any) -> None:
            if error is not None:
                problems.append(error)
            else:
                offsets[place] = message.offset()

        try:
            with self._answered():
                for place, entry in enumerate(entries):
                    self._send(entry, lambda e, m, place=place: done(place, e, m))
                self._producer.flush(self._settings.timeout_seconds + 1)
            if problems or -1 in offsets:
                raise self._unavailable(problems[0] if problems else "no acknowledgement in time")
        except LogUnavailable:
            self._give_up()
            raise
        return offsets

    def _send(self, entry: Entry, done: Any) -> None:
        if self._producer is None:
            wait = int(self._settings.timeout_seconds * 1000)
            safe = {"enable.idempotence": True, "acks": "all", "delivery.timeout.ms": wait, "linger.ms": 2}
            size = {"message.max.bytes": self._settings.message_bytes}
            self._producer = self._kafka.Producer({**self._base, **safe, **size})
        sealed = is_sealed(entry.line)
        kind = kind_in_clear(entry.event.kind) if sealed else entry.event.kind.value
        headers = {_BODY: entry.body.to_bytes(8, "little"), _KIND: kind.encode()}
        if sealed and self._vault:
            headers[_VAULT] = self._vault
        while True:
            try:
                self._producer.produce(
                    self._settings.topic,
                    key=entry.event.event_id,
                    value=entry.line,
                    headers=headers,
                    partition=0,
                    timestamp=entry.received_ms,
                    on_delivery=done,
                )
                return
            except BufferError:  # the client's queue is full: let some go out first
                self._producer.poll(0.05)

    def _give_up(self) -> None:
        """After a failure nothing that is still queued may go out later."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.poll(0)
            self._producer = None

    def bounds(self) -> tuple[int, int]:
        """The first offset that the topic still holds, and one that is at most its end.

        Some brokers tell the end of a moment ago: only a fetch finds the true one.
        """
        with self._answered(), self._reader() as reader:
            wait = self._settings.timeout_seconds
            first, last = reader.get_watermark_offsets(self._place, timeout=wait)
            return int(first), max(int(first), int(last))

    def fetch(self, start: int, stop: int | None) -> Iterator[Message]:
        """Records from `start` to before `stop`, or to the end as a fetch that began after this call finds it.

        Where the end is, only fetches say: the watermarks of the offset API are wrong on some brokers.

        Raises:
            BadInput: a record that is no event, or one that the topic no longer holds.
            LogUnavailable: the broker does not answer.
        """
        if stop is not None and start >= stop:
            return
        with self._answered(), self._reader_at(start) as reader:
            deadline = time.monotonic() + self._settings.timeout_seconds
            while True:
                message = reader.poll(0.5)
                if message is None or message.error():
                    if message is not None and self._ended(message.error(), start):
                        return
                    if time.monotonic() > deadline:
                        raise self._unavailable("no answer in time")
                    continue
                yield _message(message)
                deadline = time.monotonic() + self._settings.timeout_seconds
                if stop is not None and message.offset() + 1 >= stop:
                    return

    def _ended(self, error: Any, start: int) -> bool:
        codes = self._kafka.KafkaError
        if error.code() in (codes._AUTO_OFFSET_RESET, codes.OFFSET_OUT_OF_RANGE):
            raise BadInput(f"topic {self._settings.topic} no longer holds offset {start}: see its retention")
        return bool(error.code() == codes._PARTITION_EOF)

    def committed(self, group: str) -> int:
        """The group's offset, 0 at first."""
        with self._answered(), self._reader(group) as reader:
            found = reader.committed([self._place], timeout=self._settings.timeout_seconds)[0].offset
            return max(int(found), 0)

    def commit(self, group: str, offset: int) -> None:
        with self._answered(), self._reader(group) as reader:
            place = self._kafka.TopicPartition(self._settings.topic, 0, offset)
            reader.commit(offsets=[place], asynchronous=False)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._producer is not None:
            self._producer.flush(self._settings.timeout_seconds)
            self._producer = None

    @contextmanager
    def _reader(self, group: str = "none") -> Iterator[Any]:
        reader = self._consumer(group)
        try:
            yield reader
        finally:
            reader.close()

    def _consumer(self, group: str) -> Any:
        settings = {
            "group.id": f"recsys.{self._settings.topic}.{group}",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,  # what asking for the end costs; with 2 a broker gave one batch an answer
        }
        return self._kafka.Consumer({**self._base, **settings})

    @contextmanager
    def _reader_at(self, start: int) -> Iterator[Any]:
        """A reader that goes on at `start`; afterwards it is kept, connected and without work, for the next."""
        try:
            reader = self._idle.pop()  # one call, so that two threads never get the same
        except IndexError:
            reader = self._consumer("none")
        reader.assign([self._kafka.TopicPartition(self._settings.topic, 0, start)])
        try:
            yield reader
            reader.unassign()
        except BaseException:
            reader.close()
            raise
        if len(self._idle) < _IDLE_READERS:
            self._idle.append(reader)
        else:
            reader.close()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except self._kafka.KafkaException as error:
            raise self._unavailable(error.args[0]) from error
        except TimeoutError as error:
            raise self._unavailable("no answer in time") from error

    def _unavailable(self, reason: object) -> LogUnavailable:
        return LogUnavailable(
            f"Kafka at {self._settings.servers} does not take part ({reason}): see the broker"
        )


def _message(message: Any) -> Message:
    headers = dict(message.headers() or ())
    if message.key() is None or message.value() is None or len(headers.get(_BODY, b"")) != 8:
        raise BadInput(f"record {message.offset()} of topic {message.topic()} is no event: remove its writer")
    body = int.from_bytes(headers[_BODY], "little")
    kind, vault = headers.get(_KIND) or b"", headers.get(_VAULT) or b""
    return Message(message.offset(), message.key(), body, message.value(), kind.decode(), vault)
