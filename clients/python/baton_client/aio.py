"""The asyncio client. A client and its streams belong to one event loop, which must be one with
add_reader (on Windows the selector loop)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Callable, Optional, Protocol, TypeVar

import zmq

from .errors import Unreachable
from .link import CHORES_S, Link, nobody
from .session import Flow, Question, Session
from .types import Answer, Keys, Models, Options, Prompt, Ticket, Token

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")


class _Changing(Protocol):
    on_change: Callable[[], None]


async def _until(there: Callable[[], bool], what: _Changing) -> None:
    """Waits until it is there. Only changes of `what` are looked at."""
    while not there():
        changed = asyncio.Event()
        what.on_change = changed.set
        await changed.wait()


class AsyncStream:
    """An answer as it comes: `async for`, or read(), or result(). One task reads it. Leaving its
    `async with` cancels it. For a limit of time: asyncio.wait_for, which costs no token."""

    def __init__(self, client: AsyncClient, flow: Flow) -> None:
        self._client = client
        self._flow = flow

    async def __aiter__(self) -> AsyncIterator[Token]:
        while (token := await self.read()) is not None:
            yield token

    async def read(self) -> Optional[Token]:
        """The next token; None at the end. RequestFailed as the request does."""
        flow = self._flow
        await _until(lambda: bool(flow.fresh) or flow.over, flow)
        if flow.fresh:
            token = self._client._session.read(flow)
            self._client._flush()
            return token
        if flow.error is not None:
            raise flow.error
        return None

    async def result(self) -> Answer:
        """Reads to the end."""
        while await self.read() is not None:
            pass
        assert self._flow.answer is not None
        return self._flow.answer

    def cancel(self) -> None:
        """Ends the request. Tokens that have come can still be read; then the answer's reason is
        "cancelled"."""
        self._client._session.cancel(self._flow)
        self._client._flush()

    def credit(self, n: int) -> None:
        """Lets the router send n tokens more, of a stream with `credits`."""
        self._client._session.credit(self._flow, n)
        self._client._flush()

    def detach(self) -> Ticket:
        """Leaves the stream to another connection: attach there, within 30 s of the end of this
        one, goes on with the first token that was not read here."""
        ticket = self.ticket
        self._client._session.forget(self._flow)
        return ticket

    @property
    def ticket(self) -> Ticket:
        """To attach with, from any connection, from the first token on that was not read yet."""
        ticket = self._flow.ticket_now()
        return Ticket(ticket.request, ticket.resume, ticket.next - len(self._flow.fresh))

    @property
    def seed(self) -> int:
        return self._flow.seed

    @property
    def prompt_tokens(self) -> int:
        return self._flow.prompt_tokens

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        self.cancel()


class AsyncClient:
    """A connection to a router: `async with AsyncClient("127.0.0.1:5555") as client`. Leaving
    cancels what still runs."""

    def __init__(self, endpoint: str = "127.0.0.1:5555", *, keys: Optional[Keys] = None,
                 connect_timeout: float = 5.0, agent: str = "baton_client") -> None:
        self._link = Link(endpoint, keys)
        self._session = Session(agent, time.monotonic())
        self._timeout = connect_timeout
        self._keys = keys
        self._fd = -1
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._chores: Optional[asyncio.TimerHandle] = None

    async def connect(self) -> None:
        """What `async with` does first. Raises Unreachable if no router answers within
        connect_timeout seconds."""
        session = self._session
        self._loop = asyncio.get_running_loop()
        self._fd = int(self._link.socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._turn)
        self._on_chores()
        try:
            await asyncio.wait_for(
                _until(lambda: session.welcome or session.error is not None, session),
                self._timeout)
        except asyncio.TimeoutError:
            self.close()
            raise Unreachable(nobody(self._link.endpoint, self._timeout, self._keys)) from None
        except BaseException:
            self.close()
            raise
        if session.error is not None:
            self.close()
            raise session.error

    # --- requests ---

    async def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncStream:
        """Sends a request (Options lists what it may say) and returns when the router has accepted
        it. RequestFailed if it does not."""
        return await self._started(self._session.generate(prompt, options, time.monotonic()))

    async def generate(self, prompt: Prompt, **options: Unpack[Options]) -> Answer:
        """The same from start to end."""
        async with await self.stream(prompt, **options) as stream:
            return await stream.result()

    async def attach(self, ticket: Ticket, **options: Unpack[Options]) -> AsyncStream:
        """Takes a running stream over. Of the options window and credits have a meaning. NotFound
        if it has ended."""
        return await self._started(self._session.attach(ticket, options, time.monotonic()))

    async def _started(self, flow: Flow) -> AsyncStream:
        self._check_open()
        self._flush()
        try:
            await _until(lambda: (flow.accepted and flow.lost_since is None) or flow.over, flow)
        except asyncio.CancelledError:
            self._session.cancel(flow)
            self._flush()
            raise
        if flow.error is not None and not flow.fresh:
            raise flow.error
        return AsyncStream(self, flow)

    # --- the fleet ---

    async def models(self) -> Models:
        return await self._asked(self._session.ask_models())

    async def stats(self) -> dict[str, int]:
        """The router's counts and gauges, by name."""
        return await self._asked(self._session.ask_stats())

    async def _asked(self, question: Question[T]) -> T:
        self._check_open()
        self._flush()
        try:
            await asyncio.wait_for(
                _until(lambda: question.value is not None or question.error is not None, question),
                self._timeout)
        except asyncio.TimeoutError:
            self._session.drop_questions()
        if question.error is not None:
            raise question.error
        assert question.value is not None
        return question.value

    # --- the socket ---

    def _check_open(self) -> None:
        if self._loop is None or self._link.socket.closed:
            raise RuntimeError("this client is not connected: use it with `async with`")

    def _turn(self) -> None:
        """Takes in what is there. The descriptor fires once for input and output together, so both
        are looked at again after each send."""
        if self._link.socket.closed:
            return
        n = self._link.take(self._session) + len(self._session.outbox)
        self._link.send_all(self._session.outbox)
        n -= len(self._session.outbox)
        if n > 0 and self._loop is not None:
            self._loop.call_soon(self._turn)

    def _flush(self) -> None:
        if self._session.outbox:
            self._turn()

    def _on_chores(self) -> None:
        self._turn()
        self._session.idle(time.monotonic())
        self._turn()
        if self._loop is not None:
            self._chores = self._loop.call_later(CHORES_S, self._on_chores)

    def close(self) -> None:
        """Cancels what still runs."""
        if self._chores is not None:
            self._chores.cancel()
        if self._link.socket.closed:
            return
        if self._loop is not None and self._fd >= 0:
            self._loop.remove_reader(self._fd)
        self._session.close()
        self._link.send_all(self._session.outbox)
        self._link.close()

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        self.close()
