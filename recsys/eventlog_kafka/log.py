"""The event log over a Kafka topic: which record of an id counts is read from the order of the topic itself."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from recsys.errors import BadInput, LogUnavailable, RecsysError
from recsys.eventlog.commits import checked_group
from recsys.eventlog.frame import Entry, entries_of
from recsys.eventlog.recent import Recent
from recsys.eventlog.sealing import decoded, is_sealed
from recsys.eventlog_kafka.topic import KafkaSettings, Message, Topic
from recsys.events import Event
from recsys.ports import Appended, Record
from recsys.schemas import EventKind
from recsys.vault import Vault


@dataclass
class _Request:
    """One call of append that waits for its turn; concurrent ones go to the broker together."""

    entries: list[Entry]
    outcomes: list[Appended] = field(default_factory=list)
    error: RecsysError | None = None
    done: bool = False


class KafkaEventLog:
    """recsys.ports.EventLog on a topic of one partition, whose order is the log's and whose offsets are its offsets.

    Idempotence across writers. Each writer keeps in memory, over the horizon, the ids of the records that it has
    read. Ids it knows are not sent. The others are sent, and the offsets that come back say whether another writer
    wrote in between: then that gap is read before anything is decided. Of several records with one id the first in
    the topic counts: its writer is told ACCEPTED, the others DUPLICATE or CONFLICT, and every reader drops the later
    ones. So two writers need no lock, and a race costs a record that nobody sees (offsets then have gaps). A batch
    that failed with LogUnavailable may be in the topic in part: the same events sent again are answered DUPLICATE or
    ACCEPTED, and count once.

    The horizon is counted in records before the one in question. Opening reads the last two horizons, so that all
    apply it alike to the newest one; of older records, and where retention has cut the topic, one that opened
    later may let a repetition through (lake and states drop it too). With several partitions there would be one
    order per partition: offsets would become vectors, and ids must be hashed to partitions so that repeats meet.
    """

    def __init__(self, settings: KafkaSettings, vault: Vault | None = None) -> None:
        """Opens the topic, and makes it where it is missing.

        Args:
            vault: seals what is appended, and opens what is read.

        Raises:
            LogUnavailable: no broker answers.
            BadInput: the topic cannot be used, or holds records that another vault sealed.
        """
        self._settings, self._vault = settings, vault
        self._epoch = vault.epoch if vault is not None else 0
        self.shredded = 0  # records passed over because their listener's key is destroyed
        self._mark = bytes.fromhex(vault.identity) if vault is not None else b""
        self._known_ours = vault is None  # whether the topic is known to be sealed by this vault
        self._topic = Topic(settings, self._mark)
        self.identity = self._topic.identity
        self._lock = threading.Lock()
        self._bodies: dict[bytes, tuple[int, int]] = {}  # id -> (offset, body) of the record that counts
        self._repeats: set[int] = set()  # offsets of records that do not count
        self._queue: list[_Request] = []
        self._queue_lock = threading.Lock()
        self._recent = Recent()
        self._low, high = self._topic.bounds()
        self._next = max(self._low, high - 2 * settings.horizon_events)
        with self._lock:
            self._read_on(None)

    @classmethod
    def of_url(cls, url: str, vault: Vault | None = None) -> KafkaEventLog:
        """From kafka://host:port/topic; see KafkaSettings.of_url."""
        return cls(KafkaSettings.of_url(url), vault)

    def append(self, events: Sequence[Event], wait: bool = True) -> list[Appended]:  # noqa: ARG002
        """See recsys.ports.EventLog; what LogUnavailable leaves open is said at the class.

        Waits in any case: what only stands in a producer's buffer would end with this process.
        """
        request = _Request(entries_of(events, self._vault))
        self._topic.check(request.entries)
        with self._queue_lock:
            self._queue.append(request)
        with self._lock:
            if not request.done:
                self._serve()
        if request.error is not None:
            raise type(request.error)(str(request.error))
        return request.outcomes

    def _serve(self) -> None:
        """Sends all that is waiting together; every request is answered, or fails, with the others."""
        with self._queue_lock:
            waiting, self._queue = self._queue, []
        error: RecsysError | None = LogUnavailable("the append was interrupted: send the batch again")
        try:
            if not self._known_ours:  # a topic without a record of ours may be another home's by now
                self._read_on(None)
                self._known_ours = True
            fresh: dict[bytes, Entry] = {}
            for one in (one for request in waiting for one in request.entries):
                if _id(one) not in self._bodies:
                    fresh.setdefault(_id(one), one)
            mine = self._write(fresh)
            for request in waiting:
                request.outcomes = [self._outcome(_id(one), one, mine) for one in request.entries]
            error = None
        except RecsysError as problem:
            error = problem
        finally:
            for request in waiting:
                request.error, request.done = error, True

    def _write(self, fresh: dict[bytes, Entry]) -> set[bytes]:
        """Sends new events; returns the ids of those that count."""
        if not fresh:
            return set()
        begin, offsets = self._next, self._topic.produce([*fresh.values()])
        if offsets == list(range(begin, begin + len(offsets))):  # nobody wrote in between
            for offset, (event_id, one) in zip(offsets, fresh.items(), strict=True):
                self._take(Message(offset, event_id, one.body, b""))
            self._recent.add(begin, [one.event for one in fresh.values()])
        else:
            self._read_on(max(offsets) + 1)
        return {event_id for event_id, at in zip(fresh, offsets, strict=True) if at not in self._repeats}

    def _outcome(self, event_id: bytes, one: Entry, mine: set[bytes]) -> Appended:
        if event_id in mine:
            mine.discard(event_id)  # a repetition within the batch is judged like any other
            return Appended.ACCEPTED
        known = self._bodies.get(event_id)
        return Appended.DUPLICATE if known is None or one.says(known[1]) else Appended.CONFLICT

    def _read_on(self, stop: int | None) -> None:
        """Takes in what the topic holds up to `stop`, or to its end."""
        for message in self._fetch(self._next, stop):
            self._take(message)

    def _fetch(self, start: int, stop: int | None) -> Iterator[Message]:
        """As the topic's. Under another vault every record would look like one of somebody who was erased.

        Raises:
            BadInput: another vault sealed a record.
        """
        for message in self._topic.fetch(start, stop):
            if message.vault and self._mark:
                if message.vault != self._mark:
                    raise BadInput(
                        f"topic {self._settings.topic} was sealed with another vault (record {message.offset}): "
                        "restore the home's vault/ and master key, or give each home a topic of its own"
                    )
                self._known_ours = True
            yield message

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
    def start(self) -> int:
        """The oldest offset that the topic held when it was opened."""
        return self._low

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
        stop = offset + limit if limit is not None and self._low <= offset else None
        if stop is None or stop > self._next:  # beyond what is known here
            end = self._reach(offset)
            stop = end if limit is None else min(end, offset + limit)
        if self._vault is not None and self._vault.epoch != self._epoch:
            self._epoch = self._vault.epoch
            self._recent.clear()
        recent = self._recent.read(offset, stop, skip)
        return self._records(offset, stop, skip) if recent is None else iter(recent)

    def find(self, event_id: str, offset: int = 0) -> Event | None:
        """See recsys.ports.EventLog."""
        wanted = event_id.encode()
        for message in self._fetch(offset, self._reach(offset)):
            if message.event_id == wanted:
                return self._event(message)
        return None

    def in_clear(self, text: str) -> int:
        """Records from before there were keys that hold a text: the topic's retention has to take them."""
        wanted, end = text.encode(), self.end
        found = (m.line for m in self._fetch(self._low, end) if not is_sealed(m.line))
        return sum(wanted in line for line in found)

    def _reach(self, offset: int) -> int:
        end = self.end
        if not self._low <= offset <= end:  # what retention cut since this log was opened, the fetch refuses
            raise BadInput(f"offset {offset} is not in the log, which spans {self._low} to {end}")
        return end

    def _records(self, offset: int, stop: int, skip: Collection[EventKind]) -> Iterator[Record]:
        for message in self._fetch(offset, stop):
            if message.offset not in self._repeats and message.kind not in skip:
                event = self._event(message)
                if event is None:
                    self.shredded += 1
                elif event.kind not in skip:  # beside a sealed record only the server's kinds are told
                    yield Record(message.offset, event)

    def _event(self, message: Message) -> Event | None:
        try:
            return decoded(message.line, self._vault)
        except ValidationError:
            raise BadInput(f"record {message.offset} of the topic is no event: remove its writer") from None

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


def _id(one: Entry) -> bytes:
    return one.event.event_id.encode()
