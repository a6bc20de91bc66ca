"""The event log on Kafka (recsys.ports.EventLog on a topic of one partition), for several machines.

log = KafkaEventLog.of_url("kafka://host:9092/events")     # `pip install "recsys[engines]"`
log.append([event])                                         # returns when all in-sync replicas have it
"""

from recsys.eventlog_kafka.log import KafkaEventLog
from recsys.eventlog_kafka.topic import KafkaSettings

__all__ = ["KafkaEventLog", "KafkaSettings"]
