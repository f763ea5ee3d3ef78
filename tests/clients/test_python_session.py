"""The Python client without sockets and fleets: bytes of the protocol's examples, losses and times
on a clock of its own, and a router that talks nonsense."""

import os
import random
import re
import unittest

import fleet as fleets  # first: it finds the libraries

import msgpack

from baton_client import (Denied, FleetError, Full, Incompatible, InvalidRequest, Lost, NotFound,
                          Ticket, Unreachable, errors, wire)
from baton_client.session import LATE_S, LOST_S, SILENCE_S, Session

REQ, RESUME = bytes(range(16)), bytes(range(100, 116))


def examples():
    """Line -> bytes, of the protocol's description."""
    with open(os.path.join(fleets.ROOT, "wire", "PROTOCOL.md"), encoding="utf-8") as file:
        blocks = re.findall(r"```\n(\w.*)\n((?:[0-9a-f ]+\n)+)```", file.read())
    return {line: bytes.fromhex(digits) for line, digits in blocks}


def status_names():
    with open(os.path.join(fleets.ROOT, "wire", "PROTOCOL.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", file.read(), re.MULTILINE)
    return {int(code): name for code, name in rows}


class Bytes(unittest.TestCase):
    def example(self, start):
        return next(data for line, data in examples().items() if line.startswith(start))

    def test_what_we_say_is_as_described(self):
        self.assertGreaterEqual(len(examples()), 8)
        self.assertEqual(wire.hello("example"), self.example("hello"))
        ticket = Ticket(bytes(range(0xa0, 0xb0)), b"\x5e" * 16, 0)
        self.assertEqual(wire.cancel(ticket), self.example("cancel"))
        options = {"max_tokens": 2, "temperature": 0.5, "seed": 7}
        self.assertEqual(wire.generate("one", [1, 127, 128, 65536], options),
                         self.example("generate"))

    def test_what_we_hear_is_as_described(self):
        token = wire.token_of(wire.unpack(self.example("token")), " the")
        self.assertEqual((token.index, token.id, token.logprob, token.end),
                         (1, 262, -0.25, "length"))
        done = wire.unpack(self.example("done"))
        self.assertEqual(wire.ledger_of(done).total_us, 12500)
        self.assertEqual(wire.unpack(self.example("failed"))["code"], 22)

    def test_status_codes(self):
        names = status_names()
        self.assertEqual({code: names[code] for code in names if code >= 10}, errors.STATUS_NAMES)
        for code, kind in ((10, InvalidRequest), (15, Denied), (22, Full),
                           (25, errors.RequestFailed), (41, FleetError), (44, Incompatible),
                           (200, FleetError)):
            self.assertIs(type(errors.failure(code, "x")), kind)
        self.assertEqual(errors.failure(22, "x", 1500).retry_after, 1.5)

    def test_lengths_that_are_not_there(self):
        for data in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
                     b"\x81\xa1t\xdb\xff\xff\xff\xff", b"", b"\xc1", b"\x91" * 5000, b"\x93\x01"):
            with self.assertRaises(wire.Malformed):
                wire.unpack(data)


class Talk(unittest.TestCase):
    """A session and its router, on a clock that the test moves."""

    def setUp(self):
        self.now = 1000.0
        self.session = Session("test", self.now)
        self.session.idle(self.now)
        self.assertEqual(self.said(), ["hello"])
        self.hear("welcome", version=1)

    def said(self):
        """Names of what was sent since."""
        return [message["t"] for message in self.said_whole()]

    def said_whole(self):
        messages = [msgpack.unpackb(data) for data in self.session.outbox]
        self.session.outbox.clear()
        return messages

    def hear(self, name, **fields):
        self.session.receive(msgpack.packb({"t": name, **fields}), self.now)

    def wait(self, seconds):
        """Moves the clock in small steps."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.25, end)
            self.session.idle(self.now)

    def start(self, **options):
        flow = self.session.generate("x", options, self.now)
        self.said()
        self.hear("accepted", label=flow.label, r=REQ, resume=RESUME, seed=5, prompt_tokens=1)
        return flow

    def token(self, index, text="a", **fields):
        self.hear("token", r=REQ, index=index, token=65, text=text, **fields)

    def test_silence_takes_the_stream_over(self):
        flow = self.start()
        self.token(0)
        self.wait(SILENCE_S - 0.5)
        self.assertEqual(self.said(), [])
        self.hear("heartbeat", r=REQ)
        self.wait(SILENCE_S + 0.5)
        self.assertEqual(self.said(), ["hello"])
        self.hear("welcome", version=1)
        (attach,) = self.said_whole()
        self.assertEqual((attach["t"], attach["next"], attach["resume"]), ("attach", 1, RESUME))
        self.hear("accepted", r=REQ, seed=5)
        self.assertIsNone(flow.lost_since)
        self.token(0)  # doubled: dropped
        self.token(1)
        self.assertEqual(len(flow.tokens), 2)

    def test_a_router_that_was_started_again(self):
        flow = self.start()
        self.wait(SILENCE_S + 0.5)
        self.hear("welcome", version=1)
        self.hear("failed", r=REQ, code=11, text="no such request")
        self.assertIsInstance(flow.error, Lost)
        self.assertIn("seed 5", str(flow.error))

    def test_lost_for_good(self):
        accepted, asked = self.start(), self.session.generate("y", {}, self.now)
        self.wait(SILENCE_S + LOST_S + 0.5)
        self.assertIsInstance(accepted.error, Lost)
        self.assertIsInstance(asked.error, Lost)
        self.assertIn("hello", self.said())

    def test_no_streams_no_silence(self):
        self.wait(100)
        self.assertEqual(self.said(), [])
        self.session.generate("x", {}, self.now)
        self.wait(1)
        self.assertEqual(self.said(), ["generate"])

    def test_a_gap_is_filled(self):
        flow = self.start()
        self.token(0)
        self.token(2)
        (attach,) = self.said_whole()
        self.assertEqual((attach["t"], attach["next"]), ("attach", 1))
        self.assertEqual(len(flow.tokens), 1)

    def test_attach_keeps_a_limit_a_limit(self):
        flow = self.start(credits=2)
        self.token(0)
        self.token(1)
        self.assertEqual(flow.credits, 0)
        self.token(3)
        self.assertEqual(self.said_whole()[0]["credits"], 1)  # 0 would be no limit

    def test_the_routers_own_deadline_passes(self):
        flow = self.start(timeout=2.0)
        for _ in range(20):
            self.wait(0.5)
            self.hear("heartbeat", r=REQ)
        self.assertIsInstance(flow.error, errors.DeadlineExceeded)
        self.assertIn("cancel", self.said())
        self.assertGreater(LATE_S, 4)

    def test_cancel_before_accepted(self):
        flow = self.session.generate("x", {}, self.now)
        self.session.cancel(flow)
        self.assertEqual(self.said(), ["generate"])
        self.hear("accepted", label=flow.label, r=REQ, resume=RESUME)
        self.assertEqual(self.said(), ["cancel"])
        self.hear("failed", r=REQ, code=20)
        self.assertEqual(flow.answer.reason, "cancelled")

    def test_halves_of_a_character(self):
        flow = self.start()
        for index, part in enumerate((b"\xe6", b"\x97", b"\xa5!", b"\xff")):
            data = {"t": "token", "r": REQ, "index": index, "token": 1,
                    "text": part.decode("utf-8", "surrogateescape")}
            self.session.receive(msgpack.packb(data, unicode_errors="surrogateescape"), self.now)
        self.hear("done", r=REQ, reason="stop", seed=5)
        self.assertEqual([token.text for token in flow.tokens], ["", "", "\u65e5!", "\ufffd"])
        self.assertEqual(flow.answer.text, "\u65e5!\ufffd")

    def test_stop_strings(self):
        for stop, sent in (("END", ["END"]), (("a", "\u65e5"), ["a", "\u65e5"]), ([], None)):
            self.session.generate("x", {"stop": stop}, self.now)
            (said,) = self.said_whole()
            self.assertEqual(said.get("stop"), sent)
            self.assertNotIn("include_stop", said)
        self.session.generate("x", {"include_stop": True, "keep_special": True}, self.now)
        (said,) = self.said_whole()
        self.assertTrue(said["include_stop"] and said["keep_special"])
        self.assertRaises(TypeError, self.session.generate, "x", {"stop": [3]}, self.now)

    def test_why_it_ended(self):
        for said, text, stop_id in (({}, "", None), ({"stop_text": "END"}, "END", None),
                                    ({"stop_id": 0}, "", 0), ({"stop_id": 0xffffffff}, "", None)):
            flow = self.start()
            self.hear("done", r=REQ, reason="stop", **said)
            self.assertEqual((flow.answer.stop_text, flow.answer.stop_id), (text, stop_id))

    def test_minus_infinity(self):
        flow = self.start(logprobs=1)
        self.token(0, logprob=-1e30, top_ids=[3], top_logprobs=bytes(8))
        self.assertEqual(flow.tokens[0].logprob, float("-inf"))
        self.assertEqual(flow.tokens[0].top, ((3, 0.0),))

    def test_an_error_without_a_name_ends_what_waits(self):
        flow, later = self.start(), self.session.generate("y", {}, self.now)
        self.hear("failed", code=16, text="malformed")
        self.assertIsInstance(later.error, InvalidRequest)
        self.assertFalse(flow.over)
        question = self.session.ask_models()
        self.hear("failed", code=15, text="denied")
        self.assertIsInstance(question.error, Denied)
        question = self.session.ask_stats()
        self.session.drop_questions()
        self.assertIsInstance(question.error, Unreachable)

    def test_a_version_that_is_not_spoken(self):
        session = Session("test", self.now)
        session.receive(msgpack.packb({"t": "failed", "code": 44, "text": "too old"}), self.now)
        self.assertIsInstance(session.error, Incompatible)

    def test_others_streams_and_late_words(self):
        flow = self.start()
        self.session.forget(flow)
        self.token(0)
        self.hear("failed", r=REQ, code=40)
        self.assertFalse(flow.over or flow.tokens)
        flow = self.session.attach(Ticket(REQ, RESUME, 4), {}, self.now)
        self.hear("failed", r=REQ, code=11)
        self.assertIs(type(flow.error), NotFound)

    def test_nonsense(self):
        """Changed and invented messages end in an error, a token or nothing."""
        rng = random.Random(1)
        good = [data for data in examples().values()]
        good += [msgpack.packb({"t": kind, "r": REQ, key: value})
                 for kind in ("accepted", "token", "done", "failed", "model_list", "stats_list")
                 for key in ("label", "index", "text", "top_ids", "ledger", "names", "code")
                 for value in (None, -1, 1 << 63, "x", b"x", [1], [None], {"total_us": "x"}, 0.5)]
        for _ in range(20000):
            if rng.random() < 0.02:
                self.session = Session("test", self.now)
                self.start()
                self.session.ask_models()
                self.session.ask_stats()
            data = bytearray(rng.choice(good))
            for _ in range(rng.randrange(3)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            self.session.receive(bytes(data), self.now)


if __name__ == "__main__":
    unittest.main()
