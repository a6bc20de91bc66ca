"""Every error a user can meet, in one hierarchy; each message is one line and says the way out."""


class RecsysError(Exception):
    """Base of all errors that are the caller's or the data's fault; the CLI prints it as one line."""


class BadInput(RecsysError):
    """A file, a row or an argument that cannot be used."""


class UnknownId(RecsysError):
    """An id that nothing here knows (track, listener, request, seed)."""


class ReleaseRefused(RecsysError):
    """A release whose files are missing, truncated, swapped or from an incompatible version."""


class NotReady(RecsysError):
    """A home folder that lacks what the command needs; the message names the command to run first."""


class Leak(RecsysError):
    """Training or features saw something that was not known at the time."""


class LogUnavailable(RecsysError):
    """The event log cannot make events durable (disk full, read-only); nothing was acknowledged."""


class Erased(RecsysError):
    """A listener who was erased: nothing more is recorded, answered by name or replayed of them."""


class StoreUnavailable(RecsysError):
    """The online store cannot be reached or written; nothing of the call was written."""
