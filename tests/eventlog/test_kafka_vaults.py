"""A topic is one home's: under another vault its records would all look like those of somebody who was erased."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from recsys.errors import BadInput
from recsys.eventlog_kafka import KafkaEventLog, KafkaSettings
from recsys.vault import Vault
from tests.engines import kafka_address
from tests.eventlog.samples import play

__all__ = ["kafka_address"]


def test_another_home_s_vault_is_refused_when_it_opens_reads_or_appends(
    kafka_address: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(servers=kafka_address, topic=uuid.uuid4().hex)
    ours, theirs = Vault(tmp_path / "ours"), Vault(tmp_path / "theirs")
    log = KafkaEventLog(settings, ours)
    early = [KafkaEventLog(settings, theirs) for _ in range(2)]  # while nothing says whose the topic is
    log.append([play(i) for i in range(3)])
    with pytest.raises(BadInput, match="another vault"):
        early[0].append([play(7)])
    with pytest.raises(BadInput, match="another vault"):
        early[1].read()
    with pytest.raises(BadInput, match="another vault"):
        KafkaEventLog(settings, theirs)
    log.append([play(3)])
    for reader in (log, KafkaEventLog(settings, ours)):
        assert [record.event for record in reader.read()] == [play(i) for i in range(4)]


def test_records_of_another_vault_before_those_that_opening_looks_at_are_refused_when_read(
    kafka_address: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(servers=kafka_address, topic=uuid.uuid4().hex, horizon_events=1)
    KafkaEventLog(settings, Vault(tmp_path / "theirs")).append([play(0)])
    KafkaEventLog(settings).append([play(i) for i in range(1, 5)])  # in clear, from before there were keys
    with pytest.raises(
        BadInput, match="another vault"
    ):  # or already when it opens: brokers differ in what they
        list(KafkaEventLog(settings, Vault(tmp_path / "ours")).read(0))  # say of the end
