"""The embedded event log (recsys.ports.EventLog on a local folder): durable, idempotent, multi-process.

log = LocalEventLog(home.log)
log.append([event])          # returns after fsync
for record in log.read(log.committed("lake")): ...
"""

from recsys.eventlog.log import LocalEventLog, LogSettings

__all__ = ["LocalEventLog", "LogSettings"]
