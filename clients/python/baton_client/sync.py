"""The blocking client. A client and its streams belong to one thread at a time; any number of
streams may run on one client, and reading one takes in what comes for the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from .errors import Unreachable
from .link import CHORES_S, Link, nobody
from .session import Flow, Question, Session
from .types import Answer, Keys, Models, Options, Prompt, Ticket, Token

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")


class Stream:
    """An answer as it comes: iterate, or read(), or result(). Leaving its `with` cancels it."""

    def __init__(self, client: Client, flow: Flow) -> None:
        self._client = client
        self._flow = flow

    def __iter__(self) -> Iterator[Token]:
        while (token := self.read()) is not None:
            yield token

    def read(self, timeout: Optional[float] = None) -> Optional[Token]:
        """The next token; None at the end. TimeoutError if none comes within timeout seconds; the
        stream goes on. RequestFailed as the request does."""
        flow = self._flow
        if not self._client._until(lambda: bool(flow.fresh) or flow.over, timeout):
            raise TimeoutError(f"no token within {timeout} s")
        if flow.fresh:
            token = self._client._session.read(flow)
            self._client._flush()
            return token
        if flow.error is not None:
            raise flow.error
        return None

    def result(self, timeout: Optional[float] = None) -> Answer:
        """Reads to the end. TimeoutError if it is not there within timeout seconds."""
        flow = self._flow
        end = None if timeout is None else time.monotonic() + timeout
        while self.read(None if end is None else max(end - time.monotonic(), 0.0)) is not None:
            pass
        assert flow.answer is not None
        return flow.answer

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
        """Leaves the stream to another connection: Client.attach there, within 30 s of the end of
        this one, goes on with the first token that was not read here."""
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.cancel()


class Client:
    """A connection to a router: Client("127.0.0.1:5555"). Use it with `with`: leaving cancels what
    still runs. Raises Unreachable if no router answers within connect_timeout seconds."""

    def __init__(self, endpoint: str = "127.0.0.1:5555", *, keys: Optional[Keys] = None,
                 connect_timeout: float = 5.0, agent: str = "baton_client") -> None:
        self._link = Link(endpoint, keys)
        self._session = Session(agent, time.monotonic())
        self._timeout = connect_timeout
        try:
            if not self._until(lambda: self._session.welcome or self._session.error is not None,
                               connect_timeout):
                raise Unreachable(nobody(self._link.endpoint, connect_timeout, keys))
            if self._session.error is not None:
                raise self._session.error
        except BaseException:
            self.close()
            raise

    # --- requests ---

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> Stream:
        """Sends a request (Options lists what it may say) and returns when the router has accepted
        it. RequestFailed if it does not."""
        return self._started(self._session.generate(prompt, options, time.monotonic()))

    def generate(self, prompt: Prompt, **options: Unpack[Options]) -> Answer:
        """The same from start to end."""
        with self.stream(prompt, **options) as stream:
            return stream.result()

    def attach(self, ticket: Ticket, **options: Unpack[Options]) -> Stream:
        """Takes a running stream over. Of the options window and credits have a meaning. NotFound
        if it has ended."""
        return self._started(self._session.attach(ticket, options, time.monotonic()))

    def _started(self, flow: Flow) -> Stream:
        self._until(lambda: (flow.accepted and flow.lost_since is None) or flow.over, None)
        if flow.error is not None and not flow.fresh:
            raise flow.error
        return Stream(self, flow)

    # --- the fleet ---

    def models(self) -> Models:
        return self._asked(self._session.ask_models())

    def stats(self) -> dict[str, int]:
        """The router's counts and gauges, by name."""
        return self._asked(self._session.ask_stats())

    def _asked(self, question: Question[T]) -> T:
        if not self._until(lambda: question.value is not None or question.error is not None,
                           self._timeout):
            self._session.drop_questions()
        if question.error is not None:
            raise question.error
        assert question.value is not None
        return question.value

    # --- the socket ---

    def _flush(self) -> None:
        self._link.send_all(self._session.outbox)

    def _pump(self, seconds: float) -> None:
        """Takes in what is there, or waits for something."""
        session, link = self._session, self._link
        if not link.take(session):
            session.idle(time.monotonic())
            link.send_all(session.outbox)
            if link.socket.poll(max(int(min(seconds, CHORES_S) * 1000), 0)):
                link.take(session)
        link.send_all(session.outbox)

    def _until(self, there: Callable[[], bool], timeout: Optional[float]) -> bool:
        """Pumps until it is there. False: not within timeout seconds."""
        if self._link.socket.closed:
            raise RuntimeError("this client is closed")
        self._flush()
        end = None if timeout is None else time.monotonic() + timeout
        while not there():
            left = CHORES_S if end is None else end - time.monotonic()
            if left < 0:
                return False
            self._pump(left)
        return True

    def close(self) -> None:
        """Cancels what still runs."""
        if self._link.socket.closed:
            return
        self._session.close()
        self._flush()
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
