"""What can go wrong. RequestFailed and its kinds carry the protocol's status code and the router's
sentence; they end one request, the connection goes on."""

from __future__ import annotations

from typing import Optional


class BatonError(Exception):
    """The base of all below."""


class Unreachable(BatonError, ConnectionError):
    """No router answered within the time that was given."""


class RequestFailed(BatonError):
    """A request ended with an error. retry_after: seconds after which to try again, or None."""

    def __init__(self, code: int, text: str, retry_ms: int = 0) -> None:
        super().__init__(f"{text or 'no reason given'} ({STATUS_NAMES.get(code, code)})")
        self.code = code
        self.text = text
        self.retry_after: Optional[float] = retry_ms / 1000 if retry_ms > 0 else None


class InvalidRequest(RequestFailed, ValueError):
    """Asking again in the same way is useless."""


class NotFound(RequestFailed):
    """No such model, or no such stream: ended, or not yours."""


class Denied(RequestFailed):
    """Not for clients."""


class Cancelled(RequestFailed):
    """Cancelled, but not by this stream's own cancel()."""


class DeadlineExceeded(RequestFailed, TimeoutError):
    """The request's time ran out."""


class Full(RequestFailed):
    """No room now: try again after retry_after seconds."""


class SlowReader(RequestFailed):
    """The tokens were not read in time."""


class Draining(RequestFailed):
    """This router is shutting down: ask another one."""


class FleetError(RequestFailed):
    """The fleet's own trouble, after it has tried other nodes."""


class Lost(FleetError):
    """The router is gone. The same request with the same seed gives the same answer again."""


class Incompatible(FleetError):
    """The router speaks no version of the protocol that this client does."""


STATUS_NAMES = {
    10: "INVALID", 11: "NOT_FOUND", 12: "EXISTS", 13: "TOO_BIG", 14: "UNSUPPORTED", 15: "DENIED",
    16: "MALFORMED", 20: "CANCELLED", 21: "DEADLINE", 22: "FULL", 23: "YIELDED", 24: "POISONED",
    25: "MISMATCH", 26: "STALE", 27: "SLOW_READER", 28: "DRAINING", 40: "LOST", 41: "STUCK",
    42: "REFUSED", 43: "PROTOCOL", 44: "INCOMPATIBLE", 45: "UNREACHABLE", 60: "NO_MEMORY",
    61: "IO", 62: "INTERNAL",
}

_KINDS: dict[int, type[RequestFailed]] = {
    10: InvalidRequest, 11: NotFound, 13: InvalidRequest, 14: InvalidRequest, 15: Denied,
    16: InvalidRequest, 20: Cancelled, 21: DeadlineExceeded, 22: Full, 27: SlowReader,
    28: Draining, 40: Lost, 44: Incompatible,
}


def failure(code: int, text: str, retry_ms: int = 0) -> RequestFailed:
    """The exception for a status code."""
    kind = _KINDS.get(code, FleetError if code >= 40 else RequestFailed)
    return kind(code, text, retry_ms)
