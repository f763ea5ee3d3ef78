"""A connection and its streams, without the connection: messages and times go in, messages to send
come out in `outbox`. Client and AsyncClient put it on a socket.

ZeroMQ reconnects by itself; what this adds is to notice the silence, to say hello again, and to
take every stream over from the first token that it lacks."""

from __future__ import annotations

import codecs
from collections import deque
from typing import Callable, Generic, Optional, TypeVar

from . import wire
from .errors import BatonError, RequestFailed, Unreachable, failure
from .types import Answer, Ledger, Models, Options, Prompt, Ticket, Token

HELLO_S = 1.0  # pause between two hellos
SILENCE_S = 3.0  # the router speaks every second to who waits: then it is gone
LOST_S = 30.0  # a stream that could not be taken over for so long is lost
LATE_S = 6.0  # a router ends a request at most 4 s after its deadline
STREAMS_MAX = 65536
CANCELLED = 20
DEADLINE = 21
NOT_FOUND = 11
LOST = 40

T = TypeVar("T")


def _nothing() -> None:
    pass


class Question(Generic[T]):
    """`models` or `stats`, and its answer."""

    def __init__(self) -> None:
        self.value: Optional[T] = None
        self.error: Optional[BatonError] = None
        self.on_change: Callable[[], None] = _nothing


def _refuse(question: Question[T], error: BatonError) -> None:
    question.error = error
    question.on_change()


class Flow:
    """One stream: what came and was not read yet, and how it ended."""

    def __init__(self, label: str, window: int, limited: int, deadline: Optional[float]) -> None:
        self.label = label
        self.window = window  # 0: the reader gives credits itself, or there is no limit
        self.credits = limited  # left at the router, where it counts them
        self.limited = limited > 0
        self.deadline = deadline
        self.read = 0  # since the last credits, of a window
        self.ticket: Optional[Ticket] = None  # once accepted
        self.next = 0
        self.lost_since: Optional[float] = None
        self.by_ticket = False  # it is another's stream until the router accepts us
        self.cancelled = False
        self.seed = 0
        self.prompt_tokens = 0
        self.fresh: deque[Token] = deque()  # not read yet
        self.tokens: list[Token] = []  # all
        self.answer: Optional[Answer] = None
        self.error: Optional[RequestFailed] = None
        self.on_change: Callable[[], None] = _nothing
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def over(self) -> bool:
        return self.answer is not None or self.error is not None

    @property
    def accepted(self) -> bool:
        return self.ticket is not None

    def ticket_now(self) -> Ticket:
        assert self.ticket is not None
        return Ticket(self.ticket.request, self.ticket.resume, self.next)

    def take(self, body: wire.Map) -> None:
        data = wire.token_bytes(body)
        end = wire.text_of(body, "end")
        token = wire.token_of(body, self._decoder.decode(data, final=bool(end)))
        self.next += 1
        self.credits -= self.limited and self.credits > 0
        self.fresh.append(token)
        self.tokens.append(token)

    def finish(self, reason: str, seed: int, fingerprint: str, ledger: Ledger,
               stop_text: str = "", stop_id: Optional[int] = None) -> None:
        self.answer = Answer(text="".join(token.text for token in self.tokens),
                             tokens=tuple(self.tokens), reason=reason, seed=seed,
                             prompt_tokens=self.prompt_tokens, fingerprint=fingerprint,
                             ledger=ledger, stop_text=stop_text, stop_id=stop_id)


class Session:
    """Everything that a connection knows. Times are of any clock that only goes forward."""

    def __init__(self, agent: str, now: float) -> None:
        self.outbox: deque[bytes] = deque()
        self.welcome = False
        self.server = ""
        self.error: Optional[RequestFailed] = None  # the router wants nothing to do with us
        self.on_change: Callable[[], None] = _nothing  # of welcome and error
        self._agent = agent
        self._heard = now
        self._hello: Optional[float] = None
        self._count = 0
        self._flows: dict[str, Flow] = {}  # by label, until they are over
        self._named: dict[bytes, Flow] = {}  # of them those accepted, by request id
        self._models: deque[Question[Models]] = deque()
        self._stats: deque[Question[dict[str, int]]] = deque()

    # --- asking ---

    def _flow(self, options: Options, now: float) -> Flow:
        if len(self._flows) >= STREAMS_MAX:
            raise failure(22, f"{STREAMS_MAX} requests run already on this connection")
        window, credits = options.get("window") or 0, options.get("credits") or 0
        if window and credits:
            raise TypeError("a request has a window or credits, not both")
        timeout = options.get("timeout")
        self._count += 1
        return Flow(str(self._count), window, window or credits,
                    None if timeout is None else now + timeout + LATE_S)

    def generate(self, prompt: Prompt, options: Options, now: float) -> Flow:
        flow = self._flow(options, now)
        self.outbox.append(wire.generate(flow.label, prompt, options))
        self._add(flow, now)
        return flow

    def attach(self, ticket: Ticket, options: Options, now: float) -> Flow:
        flow = self._flow(options, now)
        flow.ticket = ticket
        flow.next = ticket.next
        flow.lost_since = now
        flow.by_ticket = True
        self._named[ticket.request] = flow
        self.outbox.append(wire.attach(ticket, flow.credits))
        self._add(flow, now)
        return flow

    def _add(self, flow: Flow, now: float) -> None:
        if not self._flows:
            self._heard = now  # nobody had to speak to us before
        self._flows[flow.label] = flow

    def cancel(self, flow: Flow) -> None:
        if flow.over:
            return
        flow.cancelled = True
        if flow.accepted:  # else as soon as it is
            self.outbox.append(wire.cancel(flow.ticket_now()))

    def credit(self, flow: Flow, n: int) -> None:
        if flow.over or not flow.accepted or n <= 0:
            return
        flow.credits += n
        self.outbox.append(wire.credit(flow.ticket_now(), n))

    def read(self, flow: Flow) -> Token:
        """Takes a token to its reader, who makes room in the window by that."""
        token = flow.fresh.popleft()
        flow.read += 1
        if flow.window and flow.read * 2 >= flow.window and flow.lost_since is None:
            self.credit(flow, flow.read)
            flow.read = 0
        return token

    def forget(self, flow: Flow) -> None:
        """The stream goes on at the router, but not here."""
        self._flows.pop(flow.label, None)
        if flow.ticket is not None:
            self._named.pop(flow.ticket.request, None)

    def ask_models(self) -> Question[Models]:
        question: Question[Models] = Question()
        self._models.append(question)
        self.outbox.append(wire.pack("models"))
        return question

    def ask_stats(self) -> Question[dict[str, int]]:
        question: Question[dict[str, int]] = Question()
        self._stats.append(question)
        self.outbox.append(wire.pack("stats"))
        return question

    def drop_questions(self) -> None:
        """No answer came in time: later ones must not be taken for it."""
        error = Unreachable("the router did not answer in time")
        for models in self._models:
            _refuse(models, error)
        for stats in self._stats:
            _refuse(stats, error)
        self._models.clear()
        self._stats.clear()

    def close(self) -> None:
        for flow in list(self._flows.values()):
            self.cancel(flow)
            self._fail(flow, CANCELLED, "this client was closed")

    # --- answers ---

    def receive(self, data: bytes, now: float) -> None:
        """One message of the router. What is not understood is left alone: silence will tell."""
        try:
            body = wire.unpack(data)
            self._heard = now
            self._take(body, now)
        except wire.Malformed:
            pass

    def _take(self, body: wire.Map, now: float) -> None:
        kind = body["t"]
        flow = self._named.get(wire.bytes_of(body, "r"))
        if kind == "welcome":
            self._take_welcome(body)
        elif kind == "accepted":
            self._take_accepted(body, flow, now)
        elif kind == "token" and flow is not None:
            self._take_token(body, flow)
        elif kind == "done" and flow is not None:
            self._take_done(body, flow)
        elif kind == "failed":
            self._take_failed(body, flow)
        elif kind == "model_list" and self._models:
            models = self._models.popleft()
            models.value = wire.models_of(body)
            models.on_change()
        elif kind == "stats_list" and self._stats:
            stats = self._stats.popleft()
            stats.value = wire.stats_of(body)
            stats.on_change()

    def _take_welcome(self, body: wire.Map) -> None:
        self.welcome = True
        self.server = wire.text_of(body, "server")
        self.on_change()
        for flow in self._flows.values():
            if flow.lost_since is not None and flow.accepted:
                self._send_attach(flow)

    def _send_attach(self, flow: Flow) -> None:
        credits = 0
        if flow.limited:  # 0 would mean no limit
            flow.credits = flow.window - len(flow.fresh) if flow.window else flow.credits
            flow.credits = max(flow.credits, 1)
            flow.read = 0
            credits = flow.credits
        self.outbox.append(wire.attach(flow.ticket_now(), credits))

    def _take_accepted(self, body: wire.Map, flow: Optional[Flow], now: float) -> None:
        if flow is None:
            flow = self._flows.get(wire.text_of(body, "label"))
            if flow is None or flow.accepted:
                return
            flow.ticket = Ticket(wire.bytes_of(body, "r"), wire.bytes_of(body, "resume"), 0)
            if len(flow.ticket.request) != 16 or len(flow.ticket.resume) != 16:
                flow.ticket = None
                raise wire.Malformed("accepted without its ids")
            self._named[flow.ticket.request] = flow
        flow.lost_since = None
        flow.by_ticket = False
        flow.seed = wire.number_of(body, "seed")
        flow.prompt_tokens = wire.number_of(body, "prompt_tokens")
        if flow.cancelled:
            self.cancel(flow)
        flow.on_change()

    def _take_token(self, body: wire.Map, flow: Flow) -> None:
        index = wire.number_of(body, "index")
        if index > flow.next:  # one was lost on the way
            self._send_attach(flow)
        if index != flow.next:
            return
        flow.take(body)
        flow.on_change()

    def _take_done(self, body: wire.Map, flow: Flow) -> None:
        flow.finish(wire.text_of(body, "reason"), wire.number_of(body, "seed"),
                    wire.text_of(body, "fingerprint"), wire.ledger_of(body),
                    wire.text_of(body, "stop_text"), wire.stop_id_of(body))
        self.forget(flow)
        flow.on_change()

    def _take_failed(self, body: wire.Map, flow: Optional[Flow]) -> None:
        code, text = wire.number_of(body, "code"), wire.text_of(body, "text")
        retry_ms = wire.number_of(body, "retry_ms")
        label = wire.text_of(body, "label")
        if flow is None and label:
            flow = self._flows.get(label)
        elif flow is None and any(wire.bytes_of(body, "r")):
            return  # a stream that is not ours any more
        elif flow is None:
            flow = self._blame(failure(code, text, retry_ms))
        if flow is None:
            return
        if flow.lost_since is not None and code == NOT_FOUND and not flow.by_ticket:
            code, text = LOST, ("the router that had this request is gone: ask again with seed "
                                f"{flow.seed} for the same answer")
        self._fail(flow, code, text, retry_ms)

    def _blame(self, error: RequestFailed) -> Optional[Flow]:
        """Whom an error without a name is about: a request without an answer, else a question, else
        the connection itself."""
        for flow in self._flows.values():
            if not flow.accepted:
                return flow
        if self.welcome and self._models:
            _refuse(self._models.popleft(), error)
        elif self.welcome and self._stats:
            _refuse(self._stats.popleft(), error)
        elif not self.welcome:
            self.error = error
            self.on_change()
        return None

    def _fail(self, flow: Flow, code: int, text: str, retry_ms: int = 0) -> None:
        if flow.cancelled and code == CANCELLED:
            flow.finish("cancelled", flow.seed, "", Ledger())
        else:
            flow.error = failure(code, text, retry_ms)
        self.forget(flow)
        flow.on_change()

    # --- time ---

    def idle(self, now: float) -> None:
        """To be called several times a second, and after all that was there has been received:
        hello until there is an answer, and again after silence."""
        silent = bool(self._flows) and now - self._heard >= SILENCE_S
        if (not self.welcome or silent) and (self._hello is None or now - self._hello >= HELLO_S):
            self.outbox.append(wire.hello(self._agent))
            self._hello = now
        for flow in list(self._flows.values()):
            if silent and flow.lost_since is None:
                flow.lost_since = now
            if flow.lost_since is not None and now - flow.lost_since >= LOST_S:
                self._fail(flow, LOST, f"the router has been silent for {LOST_S:.0f} s")
            elif flow.deadline is not None and now >= flow.deadline:
                if flow.accepted:
                    self.outbox.append(wire.cancel(flow.ticket_now()))
                self._fail(flow, DEADLINE, "the router did not end the request in its time")
