"""Talks to a Baton router over ZeroMQ: Client blocks, AsyncClient is for asyncio."""

from .aio import AsyncClient, AsyncStream
from .errors import (BatonError, Cancelled, DeadlineExceeded, Denied, Draining, FleetError, Full,
                     Incompatible, InvalidRequest, Lost, NotFound, RequestFailed, SlowReader,
                     Unreachable)
from .sync import Client, Stream
from .types import Answer, Keys, Ledger, Message, Models, Options, Prompt, Ticket, Token

__version__ = "0.1.0"

__all__ = [
    "Answer", "AsyncClient", "AsyncStream", "BatonError", "Cancelled", "Client",
    "DeadlineExceeded", "Denied", "Draining", "FleetError", "Full", "Incompatible",
    "InvalidRequest", "Keys", "Ledger", "Lost", "Message", "Models", "NotFound", "Options",
    "Prompt", "RequestFailed", "SlowReader", "Stream", "Ticket", "Token", "Unreachable",
]
