"""What goes in and comes out: prompts, options, tokens, answers, keys, tickets."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Optional, TypedDict, Union


class Message(TypedDict):
    """One message of a chat."""

    role: str
    content: str


# A text as it is, ids, or a chat for the model's template.
Prompt = Union[str, Sequence[int], Sequence[Message]]


class Options(TypedDict, total=False):
    """How to generate. What is left out is the protocol's default (in brackets)."""

    model: str  # [the one that is served]
    max_tokens: int  # [16]
    min_tokens: int  # [0]
    temperature: float  # [1]; 0: always the likeliest
    top_k: int  # [0, off]
    top_p: float  # [1]
    min_p: float  # [0]
    repetition_penalty: float  # [1]
    presence_penalty: float  # [0]
    frequency_penalty: float  # [0]
    stop: Union[str, Sequence[str]]  # the first of these texts in the answer ends it
    include_stop: bool  # [False]; what ended the answer (a text or stop id) stays in its text
    keep_special: bool  # [False]; special tokens have a text
    stop_ids: Sequence[int]
    ignore_eos: bool  # [False]
    logprobs: int  # [0]; how many of the likeliest ids come with each token
    logit_bias: Mapping[int, float]
    allowed_ids: Sequence[int]
    bad_ids: Sequence[int]
    seed: int  # [drawn by the router and told in Stream.seed]
    timeout: float  # seconds for the whole request [the router's]
    window: int  # tokens to be sent ahead of the reader; credits are given as it reads [no limit]
    credits: int  # the same, but the program gives them itself, with Stream.credit [no limit]


@dataclasses.dataclass(frozen=True)
class Token:
    """One token of an answer. text may be empty or late by some tokens where a character needs
    several; all texts together are the answer's."""

    index: int
    id: int
    text: str
    logprob: float
    top: tuple[tuple[int, float], ...] = ()  # (id, logprob), likeliest first
    end: str = ""  # of the last one: why it is


@dataclasses.dataclass(frozen=True)
class Ledger:
    """Where a request's time went, in microseconds."""

    router_queue_us: int = 0
    prefill_queue_us: int = 0
    prefill_us: int = 0
    transfer_us: int = 0
    transfer_bytes: int = 0
    transfer_path: str = ""
    decode_queue_us: int = 0
    first_step_us: int = 0
    decode_us: int = 0
    first_token_us: int = 0
    total_us: int = 0
    prompt_tokens: int = 0
    emitted_tokens: int = 0
    attempts: int = 0
    prefill_node: str = ""
    decode_node: str = ""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A stream at its end. reason: "stop" or "length"; "cancelled" after Stream.cancel. With
    "stop", stop_text is the stop string that was found, or stop_id the stop id or the model's own
    end. The same prompt, options, seed and fingerprint give the same tokens again."""

    text: str
    tokens: tuple[Token, ...]
    reason: str
    seed: int
    prompt_tokens: int
    fingerprint: str
    ledger: Ledger
    stop_text: str = ""
    stop_id: Optional[int] = None

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


@dataclasses.dataclass(frozen=True)
class Models:
    """What the router serves; len_max: tokens of the longest prompt with its answer."""

    names: tuple[str, ...]
    len_max: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Ticket:
    """The right to a running stream, from any connection: a secret. str() and parse() make it a
    text and back."""

    request: bytes
    resume: bytes
    next: int  # index of the first token still wanted

    def __str__(self) -> str:
        return f"{self.request.hex()}.{self.resume.hex()}.{self.next}"

    def __repr__(self) -> str:
        return f"Ticket(request={self.request.hex()}, next={self.next})"  # no secret in a log

    @classmethod
    def parse(cls, text: str) -> Ticket:
        parts = text.split(".")
        try:
            ticket = cls(bytes.fromhex(parts[0]), bytes.fromhex(parts[1]), int(parts[2]))
        except (IndexError, ValueError):
            raise ValueError(f"expected a ticket as str() writes it, found {len(text)} "
                             "characters of something else") from None
        if len(parts) != 3 or len(ticket.request) != 16 or len(ticket.resume) != 16:
            raise ValueError("a ticket is two hexadecimal ids of 16 bytes and a number")
        return ticket


@dataclasses.dataclass(frozen=True)
class Keys:
    """CURVE keys in Z85: the router's public key and the client's own pair."""

    server: str
    public: str
    secret: str = dataclasses.field(repr=False)

    @classmethod
    def load(cls, folder: str, router: str, name: str = "client") -> Keys:
        """From a folder that `baton keygen` made: NAME.key, and in `allow` the router's key.
        `router` is the router's name in the fleet file."""
        path = os.path.join(folder, f"{name}.key")
        with open(path, encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise PermissionError(f"{path}: others can read it, so its key must be taken as "
                                      "known; make a new one, and keep it 0600")
            own = dict(line.split() for line in file if len(line.split()) == 2)
        if "public" not in own or "secret" not in own:
            raise ValueError(f"{path}: expected two lines, `public KEY` and `secret KEY`, as "
                             "`baton keygen` writes them")
        return cls(_find(os.path.join(folder, "allow"), router), own["public"], own["secret"])


def _find(path: str, router: str) -> str:
    """The public key of a name in an allow-list."""
    found: Optional[str] = None
    with open(path, encoding="ascii") as file:
        for line in file:
            words = line.split()
            if len(words) == 3 and not line.startswith("#") and words[1] == router:
                found = words[2]
    if found is None:
        raise ValueError(f"{path}: has no key of '{router}', which should be the router's name in "
                         "the fleet file")
    return found
