"""Messages in bytes (wire/PROTOCOL.md). Knows no sockets and no streams. What comes in is checked
for type where it is used: a router may be newer, or broken."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Optional, TypeVar

import msgpack

from .errors import InvalidRequest
from .types import Ledger, Message, Models, Options, Prompt, Ticket, Token

VERSION = 1
MESSAGE_BYTES_MAX = 8 << 20
MAP_KEYS_MAX = 64
INVALID = 10
TOO_BIG = 13
MINUS_INFINITY = -1e30  # on the wire logprobs are finite
NO_ID = 0xffffffff

_SAMPLING = ("max_tokens", "min_tokens", "temperature", "top_k", "top_p", "min_p",
             "repetition_penalty", "presence_penalty", "frequency_penalty", "stop_ids",
             "ignore_eos", "logprobs", "allowed_ids", "bad_ids")
_OTHERS = ("model", "logit_bias", "stop", "include_stop", "keep_special", "seed", "timeout",
           "window", "credits")

Map = Mapping[str, Any]
T = TypeVar("T")


class Malformed(Exception):
    """A message that is not of this protocol."""


# --- out -----------------------------------------------------------------------------------------


def pack(name: str, **fields: Any) -> bytes:
    """One message. Fields that are None are left out."""
    body = {"t": name}
    body.update((key, value) for key, value in fields.items() if value is not None)
    data = msgpack.packb(body, use_bin_type=True)
    assert isinstance(data, bytes)
    if len(data) > MESSAGE_BYTES_MAX:
        raise InvalidRequest(TOO_BIG, f"the request has {len(data)} bytes, a message at most "
                                      f"{MESSAGE_BYTES_MAX}: shorten it")
    return data


def hello(agent: str) -> bytes:
    return pack("hello", version_min=VERSION, version_max=VERSION, agent=agent[:128])


def generate(label: str, prompt: Prompt, options: Options) -> bytes:
    for key in options:
        if key not in _SAMPLING and key not in _OTHERS:
            raise TypeError(f"'{key}' is no option; there are {', '.join(_SAMPLING + _OTHERS)}")
    seed, timeout = options.get("seed"), options.get("timeout")
    ahead = options.get("credits") or options.get("window")
    if timeout is not None and timeout <= 0:
        raise InvalidRequest(INVALID, f"timeout is {timeout}: expected seconds above 0")
    return pack("generate", label=label, model=options.get("model"), **_prompt(prompt),
                sampling=_sampling(options), seeded=True if seed is not None else None, seed=seed,
                deadline_ms=math.ceil(timeout * 1000) if timeout is not None else None,
                credits=ahead, stop=_stop(options),
                include_stop=options.get("include_stop") or None,
                keep_special=options.get("keep_special") or None)


def _prompt(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, str):
        return {"text": prompt}
    items: Sequence[Any] = prompt
    if all(isinstance(item, int) for item in items):
        return {"tokens": list(items)}
    if not all(isinstance(item, Mapping) for item in items):
        raise TypeError("a prompt is a text, a list of token ids, or a list of messages with role "
                        "and content")
    return {"roles": [_part(item, "role") for item in items],
            "contents": [_part(item, "content") for item in items]}


def _stop(options: Options) -> Optional[list[str]]:
    stop = options.get("stop")
    texts = [stop] if isinstance(stop, str) else list(stop or [])
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"a stop string is {type(text).__name__}: expected a text")
    return texts or None


def _part(message: Message, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        raise TypeError(f"a message's {key} is {type(value).__name__}: expected a text")
    return value


def _sampling(options: Options) -> Optional[dict[str, Any]]:
    given: Map = options
    fields = {key: given[key] for key in _SAMPLING if given.get(key) is not None}
    for key in ("stop_ids", "allowed_ids", "bad_ids"):
        if key in fields:
            fields[key] = list(fields[key])
    bias = options.get("logit_bias")
    if bias:
        fields["bias_ids"] = list(bias)
        fields["bias_values"] = [float(value) for value in bias.values()]
    return fields or None


def cancel(ticket: Ticket) -> bytes:
    return pack("cancel", r=ticket.request, resume=ticket.resume)


def credit(ticket: Ticket, n: int) -> bytes:
    return pack("credit", r=ticket.request, resume=ticket.resume, credits=n)


def attach(ticket: Ticket, credits: int) -> bytes:
    return pack("attach", r=ticket.request, resume=ticket.resume, next=ticket.next,
                credits=credits or None)


# --- in ------------------------------------------------------------------------------------------


def unpack(data: bytes) -> Map:
    """A message as a map with its name under "t". Lengths that the bytes do not have are refused
    before memory is taken for them."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise Malformed("a message over its limit")
    try:
        # Texts are not promised to be UTF-8: other bytes survive as surrogates.
        body = msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape",
                               max_map_len=MAP_KEYS_MAX, strict_map_key=False)
    except Exception as error:  # msgpack's own list of kinds differs between its versions
        raise Malformed(str(error)) from None
    if not isinstance(body, dict) or not isinstance(body.get("t"), str):
        raise Malformed("no map with a name")
    return body


def text_of(body: Map, key: str) -> str:
    return _typed(body, key, "")


def number_of(body: Map, key: str) -> int:
    return _typed(body, key, 0)


def bytes_of(body: Map, key: str) -> bytes:
    return _typed(body, key, b"")


def _typed(body: Map, key: str, default: T) -> T:
    """The field, which must have its default's type."""
    value = body.get(key, default)
    if type(value) is not type(default):
        raise Malformed(f"{key} is {type(value).__name__}")
    return value


def _list(body: Map, key: str, kind: type) -> list[Any]:
    value = body.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise Malformed(f"{key} is no list of {kind.__name__}")
    return value


def _logprob(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed("a logprob is no number")
    return -math.inf if value <= MINUS_INFINITY else float(value)


def token_bytes(body: Map) -> bytes:
    return text_of(body, "text").encode("utf-8", "surrogateescape")


def token_of(body: Map, text: str) -> Token:
    ids = _list(body, "top_ids", int)
    values = bytes_of(body, "top_logprobs")
    if len(values) != 8 * len(ids):
        raise Malformed("top_ids and top_logprobs differ in length")
    logprobs = struct.unpack(f"<{len(ids)}d", values)
    return Token(index=number_of(body, "index"), id=number_of(body, "token"), text=text,
                 logprob=_logprob(body.get("logprob", 0.0)),
                 top=tuple(zip(ids, map(_logprob, logprobs))), end=text_of(body, "end"))


def stop_id_of(body: Map) -> Optional[int]:
    value = _typed(body, "stop_id", NO_ID)
    return None if value == NO_ID else value


def ledger_of(body: Map) -> Ledger:
    told = body.get("ledger", {})
    if not isinstance(told, dict):
        raise Malformed("ledger is no map")
    values: dict[str, Any] = {field.name: _typed(told, field.name, field.default)
                              for field in dataclasses.fields(Ledger)}
    return Ledger(**values)


def models_of(body: Map) -> Models:
    return Models(tuple(_list(body, "names", str)), number_of(body, "len_max"),
                  text_of(body, "fingerprint"))


def stats_of(body: Map) -> dict[str, int]:
    names, values = _list(body, "names", str), _list(body, "values", int)
    if len(names) != len(values):
        raise Malformed("names and values differ in length")
    return dict(zip(names, values))
