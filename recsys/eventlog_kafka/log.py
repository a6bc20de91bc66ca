"""The event log over a Kafka topic: which record of an id counts is read from the order of the topic itself."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence

from pydantic import ValidationError

from recsys.errors import BadInput
from recsys.eventlog.commits import checked_group
from recsys.eventlog.frame import Entry, entry
from recsys.eventlog_kafka.topic import KafkaSettings, Message, Topic
from recsys.events import Event
from recsys.ports import Appended, Record
from recsys.schemas import EventKind


class KafkaEventLog:
    """recsys.ports.EventLog on a topic of one partition, whose order is the log's and whose offsets are its offsets.

    Idempotence across writers. Each writer keeps in memory, over the horizon, the ids of the records that it has
    read. Ids it knows are not sent. The others are sent, and the offsets that come back say whether another writer
    wrote in between: then that gap is read before anything is decided. Of several records with one id the first in
    the topic counts: its writer is told ACCEPTED, the others DUPLICATE or CONFLICT, and every reader drops the later
    ones. So two writers need no lock, and a race costs a record that nobody sees (offsets then have gaps). A batch
    that failed with LogUnavailable may be in the topic in part: the same events sent again are answered DUPLICATE or
    ACCEPTED, and count once.

    The horizon is counted in records before the one in question; opening reads the whole topic, so all
    apply it alike. Only where retention has cut the topic may one that opened later let a repetition through (lake
    and states drop it too). With several partitions there would be one order per partition: offsets would
    become vectors, and ids must be hashed to partitions so that repeats meet.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        """Opens the topic, and makes it where it is missing. Raises LogUnavailable, BadInput."""
        self._settings = settings
        self._topic = Topic(settings)
        self.identity = self._topic.identity
        self._lock = threading.Lock()
        self._bodies: dict[bytes, tuple[int, int]] = {}  # id -> (offset, body) of the record that counts
        self._repeats: set[int] = set()  # offsets of records that do not count
        self._next = self._topic.low()
        with self._lock:
            self._read_on(None)

    @classmethod
    def of_url(cls, url: str) -> KafkaEventLog:
        """From kafka://host:port/topic; see KafkaSettings.of_url."""
        return cls(KafkaSettings.of_url(url))

    def append(self, events: Sequence[Event]) -> list[Appended]:
        """See recsys.ports.EventLog; what LogUnavailable leaves open is said at the class."""
        entries = [entry(event) for event in events]
        ids = [event.event_id.encode() for event in events]
        with self._lock:
            fresh: dict[bytes, Entry] = {}
            for event_id, one in zip(ids, entries, strict=True):
                if event_id not in self._bodies:
                    fresh.setdefault(event_id, one)
            mine = self._write(fresh)
            return [self._outcome(event_id, one, mine) for event_id, one in zip(ids, entries, strict=True)]

    def _write(self, fresh: dict[bytes, Entry]) -> set[bytes]:
        """Sends new events; returns the ids of those that count."""
        if not fresh:
            return set()
        offsets = self._topic.produce([*fresh.values()], [event_id.decode() for event_id in fresh])
        if offsets == list(range(self._next, self._next + len(offsets))):  # nobody wrote in between
            for offset, (event_id, one) in zip(offsets, fresh.items(), strict=True):
                self._take(Message(offset, event_id, one.body, b""))
        else:
            self._read_on(max(offsets) + 1)
        return {event_id for event_id, at in zip(fresh, offsets, strict=True) if at not in self._repeats}

    def _outcome(self, event_id: bytes, one: Entry, mine: set[bytes]) -> Appended:
        if event_id in mine:
            mine.discard(event_id)  # a repetition within the batch is judged like any other
            return Appended.ACCEPTED
        known = self._bodies.get(event_id)
        return Appended.DUPLICATE if known is None or known[1] == one.body else Appended.CONFLICT

    def _read_on(self, stop: int | None) -> None:
        """Takes in what the topic holds up to `stop`, or to its end."""
        for message in self._topic.fetch(self._next, stop):
            self._take(message)

    def _take(self, message: Message) -> None:
        known = self._bodies.get(message.event_id)
        if known is not None and message.offset - known[0] <= self._settings.horizon_events:
            self._repeats.add(message.offset)
        else:
            self._bodies.pop(message.event_id, None)  # so that the dictionary stays in order of offsets
            self._bodies[message.event_id] = (message.offset, message.body)
            oldest = next(iter(self._bodies))
            if message.offset - self._bodies[oldest][0] > self._settings.horizon_events:
                del self._bodies[oldest]
        self._next = message.offset + 1

    @property
    def end(self) -> int:
        """The offset that the next event will get."""
        with self._lock:
            self._read_on(None)
            return self._next

    def read(
        self, offset: int = 0, limit: int | None = None, skip: Collection[EventKind] = ()
    ) -> Iterator[Record]:
        """See recsys.ports.EventLog. Raises BadInput where the topic does not hold `offset`."""
        end = self._reach(offset)
        stop = end if limit is None else min(end, offset + limit)
        return (r for r in self._records(offset, stop) if r.event.kind not in skip)

    def find(self, event_id: str, offset: int = 0) -> Event | None:
        """See recsys.ports.EventLog."""
        wanted = event_id.encode()
        for message in self._topic.fetch(offset, self._reach(offset)):
            if message.event_id == wanted:
                return _event(message)
        return None

    def _reach(self, offset: int) -> int:
        end, low = self.end, self._topic.low()
        if not low <= offset <= end:
            raise BadInput(f"offset {offset} is not in the log, which spans {low} to {end}")
        return end

    def _records(self, offset: int, stop: int) -> Iterator[Record]:
        for message in self._topic.fetch(offset, stop):
            if message.offset not in self._repeats:
                yield Record(message.offset, _event(message))

    def committed(self, group: str) -> int:
        """Where a consumer group goes on; 0 at first, and again where the broker has forgotten an idle group."""
        return self._topic.committed(checked_group(group))

    def commit(self, group: str, offset: int) -> None:
        """See recsys.ports.EventLog."""
        self._topic.commit(checked_group(group), offset)

    def close(self) -> None:
        """Ends the connections of this process."""
        with self._lock:
            self._topic.close()


def _event(message: Message) -> Event:
    try:
        return Event.model_validate_json(message.line)
    except ValidationError:
        raise BadInput(f"record {message.offset} of the topic is no event: remove its writer") from None
