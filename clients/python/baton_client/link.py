"""The socket under both clients: its options are those that the protocol asks for."""

from __future__ import annotations

import time
from collections import deque
from typing import Optional

import zmq

from .session import Session
from .types import Keys
from .wire import MESSAGE_BYTES_MAX

QUEUE_MAX = 100000  # messages each way
LINGER_MS = 500  # for the last cancels
ZMTP_MS = 2000  # ZMTP pings
MESSAGES_MAX = 1000  # taken in at once, so that a reader gets a turn
CHORES_S = 0.25  # how often silence is looked at


class Link:
    """A DEALER of a context of its own."""

    def __init__(self, endpoint: str, keys: Optional[Keys]) -> None:
        self.endpoint = endpoint if "://" in endpoint else f"tcp://{endpoint}"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        try:
            self._options(keys)
            self.socket.connect(self.endpoint)
        except (zmq.ZMQError, OSError) as error:
            self.close()
            raise ValueError(f"cannot use {self.endpoint}: {error}") from None

    def _options(self, keys: Optional[Keys]) -> None:
        for option, value in (
                (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
                (zmq.SNDHWM, QUEUE_MAX),
                (zmq.RCVHWM, QUEUE_MAX),
                (zmq.LINGER, LINGER_MS),
                # 1 would drop what has arrived but was not read when a connection ends: the last
                # tokens of a router that stops.
                (zmq.IMMEDIATE, 0),
                (zmq.RECONNECT_IVL, 50),
                (zmq.RECONNECT_IVL_MAX, 1000),
                (zmq.HEARTBEAT_IVL, ZMTP_MS),
                (zmq.HEARTBEAT_TIMEOUT, 3 * ZMTP_MS)):
            self.socket.setsockopt(option, value)
        if keys is not None:
            try:
                self.socket.setsockopt_string(zmq.CURVE_SERVERKEY, keys.server)
                self.socket.setsockopt_string(zmq.CURVE_PUBLICKEY, keys.public)
                self.socket.setsockopt_string(zmq.CURVE_SECRETKEY, keys.secret)
            except zmq.ZMQError:
                raise OSError("the keys are not usable: expected three texts of 40 characters "
                              "(Z85)") from None

    def send_all(self, outbox: deque[bytes]) -> None:
        """What does not fit now stays for the next time."""
        while outbox:
            try:
                self.socket.send(outbox[0], zmq.DONTWAIT)
            except zmq.Again:
                return
            outbox.popleft()

    def take(self, session: Session) -> int:
        """Gives the session what is there, MESSAGES_MAX at most, and returns how many it was."""
        for n in range(MESSAGES_MAX):
            try:
                data = self.socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                return n
            session.receive(data, time.monotonic())
        return MESSAGES_MAX

    def close(self) -> None:
        self.socket.close()
        self._context.term()


def nobody(endpoint: str, timeout: float, keys: Optional[Keys]) -> str:
    """The sentence of Unreachable."""
    hint = ("are the keys right, and this one on the router's allow-list in the domain `clients`?"
            if keys else "is the fleet running (`baton up`), and does it run without keys?")
    return f"no router answers at {endpoint} within {timeout:g} s: {hint}"
