"""The Python client, blocking and asyncio, against a live fleet of the oracle engine."""

import asyncio
import os
import random
import unittest

import fleet as fleets  # first: it finds the libraries

from baton_client import (AsyncClient, Client, DeadlineExceeded, InvalidRequest, Keys,
                          NotFound, RequestFailed, Ticket, Unreachable)

fleet = None


def setUpModule():
    global fleet
    fleet = fleets.Fleet()


def tearDownModule():
    code = fleet.stop()
    assert code == 0, f"the fleet ended with {code}"


class Blocking(unittest.TestCase):
    def setUp(self):
        self.client = Client(fleet.endpoint, agent="test")
        self.addCleanup(self.client.close)

    def whole(self, prompt="the truth", **options):
        """An answer of a length and seed that are known."""
        options = {"max_tokens": 200, "seed": 7, "ignore_eos": True, **options}
        return self.client.generate(prompt, **options)

    def stream(self, prompt="the truth", **options):
        options = {"max_tokens": 200, "seed": 7, "ignore_eos": True, **options}
        return self.client.stream(prompt, **options)

    def test_text_tokens_and_answer(self):
        answer = self.whole("Hello, world", max_tokens=40)
        self.assertEqual(self.whole(list(b"Hello, world"), max_tokens=40).ids, answer.ids)
        self.assertEqual((answer.reason, answer.seed, len(answer.tokens)), ("length", 7, 40))
        self.assertEqual(answer.text, "".join(token.text for token in answer.tokens))
        self.assertEqual(answer.prompt_tokens, 12)
        self.assertEqual([token.index for token in answer.tokens], list(range(40)))
        self.assertEqual(answer.tokens[-1].end, "length")
        self.assertEqual((answer.ledger.prefill_node, answer.ledger.decode_node), ("p", "d"))
        self.assertEqual(answer.ledger.emitted_tokens, 40)
        self.assertTrue(answer.fingerprint)

    def test_a_drawn_seed_gives_the_answer_again(self):
        first = self.client.generate("again", max_tokens=30)
        self.assertEqual(self.client.generate("again", max_tokens=30, seed=first.seed).ids,
                         first.ids)

    def test_chat(self):
        chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüße"}]
        with self.stream(chat, max_tokens=10) as stream:
            self.assertGreater(stream.prompt_tokens, 0)
            self.assertEqual(len(stream.result().ids), 10)
        with self.assertRaises(TypeError):
            self.client.generate([{"role": "user"}])

    def test_logprobs(self):
        for token in self.whole(max_tokens=20, logprobs=3).tokens:
            self.assertEqual(len(token.top), 3)
            self.assertLessEqual(token.logprob, 0)
            likeliest = [logprob for _, logprob in token.top]
            self.assertEqual(likeliest, sorted(likeliest, reverse=True))

    def test_allowed_and_biased(self):
        answer = self.whole(max_tokens=20, allowed_ids=[65, 66], logit_bias={65: 1.5})
        self.assertLessEqual(set(answer.ids), {65, 66})

    def test_stop_strings(self):
        answer = self.whole()
        stop = answer.text[50:53]
        at = answer.text.index(stop)
        short = self.whole(stop=["\u65e5", stop])
        self.assertEqual((short.text, short.reason), (answer.text[:at], "stop"))
        self.assertEqual((short.stop_text, short.stop_id), (stop, None))
        self.assertEqual(short.ids, answer.ids[:at + 3])  # an id is a byte here
        self.assertEqual(short.tokens[-1].end, "stop")
        self.assertEqual(self.whole(stop=stop, include_stop=True).text, answer.text[:at + 3])
        by_id = self.whole(stop_ids=[answer.ids[50]])
        self.assertEqual((by_id.stop_text, by_id.stop_id), ("", answer.ids[50]))
        for bad in (["x"] * 17, "", "x" * 513):
            with self.subTest(bad), self.assertRaises(InvalidRequest):
                self.whole(stop=[bad] if isinstance(bad, str) else bad)

    def test_many_at_once(self):
        alone = [self.whole(f"prompt {i}", max_tokens=30 + i).ids for i in range(20)]
        streams = [self.stream(f"prompt {i}", max_tokens=30 + i) for i in range(20)]
        random.Random(1).shuffle(order := list(range(20)))
        for i in order:
            self.assertEqual(streams[i].result().ids, alone[i])

    def test_errors(self):
        for error, options in ((NotFound, {"model": "gpt"}),
                               (InvalidRequest, {"max_tokens": 5000}),
                               (InvalidRequest, {"max_tokens": 0}),
                               (InvalidRequest, {"timeout": 0}),
                               (DeadlineExceeded, {"max_tokens": 3000, "timeout": 0.05}),
                               (TypeError, {"max_token": 3}),
                               (TypeError, {"window": 3, "credits": 3})):
            with self.subTest(options), self.assertRaises(error) as caught:
                self.whole(**options)
            if isinstance(caught.exception, RequestFailed):
                self.assertGreater(len(str(caught.exception)), 15)
        with self.assertRaises(InvalidRequest):
            self.client.generate("")
        with self.assertRaises(InvalidRequest):
            self.client.generate("x" * (9 << 20))
        self.assertEqual(len(self.whole(max_tokens=5).ids), 5)  # the connection goes on

    def test_cancel(self):
        for _ in range(30):  # more than the pool holds at once: their blocks are free again
            with self.stream(max_tokens=3000) as stream:
                self.assertIsNotNone(stream.read())
        stream = self.stream(max_tokens=3000)
        stream.cancel()
        self.assertEqual(stream.result(timeout=20).reason, "cancelled")

    def test_credits_are_given_by_hand(self):
        stream = self.stream(max_tokens=8, credits=3)
        for _ in range(3):
            stream.read()
        with self.assertRaises(TimeoutError):
            stream.read(timeout=0.3)
        stream.credit(5)
        self.assertEqual(stream.result().ids, self.whole(max_tokens=8).ids)

    def test_a_window_is_kept_open(self):
        answer = self.whole()
        for window in (1, 2, 7, 500):
            self.assertEqual(self.whole(window=window).ids, answer.ids)

    def test_another_connection_takes_over(self):
        answer = self.whole(max_tokens=300)
        stream = self.stream(max_tokens=300, window=20)
        first = [stream.read().id for _ in range(50)]
        ticket = Ticket.parse(str(stream.detach()))
        self.assertEqual(ticket.next, 50)
        self.assertNotIn(ticket.resume.hex(), repr(ticket))
        with Client(fleet.endpoint) as other:
            wrong = Ticket(ticket.request, bytes(16), 0)
            self.assertRaises(NotFound, other.attach, wrong)
            rest = other.attach(ticket, window=5).result()
            self.assertEqual(first + rest.ids, answer.ids)
            self.assertRaises(NotFound, other.attach, ticket)

    def test_a_cut_connection_costs_no_token(self):
        answer = self.whole(max_tokens=1500)
        proxy = fleets.Proxy(fleet.endpoint)
        with Client(proxy.endpoint) as client:
            for options in ({}, {"window": 50}):
                with client.stream("the truth", max_tokens=1500, seed=7, ignore_eos=True,
                                   **options) as stream:
                    ids = [stream.read().id for _ in range(100)]
                    proxy.cut()
                    ids += stream.result(timeout=30).ids[100:]
                    self.assertEqual(ids, answer.ids)
        proxy.close()

    def test_models_and_stats(self):
        models = self.client.models()
        self.assertEqual((models.names, models.len_max), (("oracle",), 4096))
        before = self.client.stats()
        self.whole(max_tokens=2)
        self.assertEqual(self.client.stats()["admitted"], before["admitted"] + 1)

    def test_nobody_there(self):
        with self.assertRaises(Unreachable) as caught:
            Client("ipc:///tmp/baton-test-nobody-listens", connect_timeout=0.3)
        self.assertIn("baton up", str(caught.exception))
        self.assertRaises(ValueError, Client, "nonsense://x")
        self.client.close()
        self.assertRaises(RuntimeError, self.client.models)


class Async(unittest.IsolatedAsyncioTestCase):
    options = {"max_tokens": 200, "seed": 7, "ignore_eos": True}

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # it would report each slow turn
        self.client = AsyncClient(fleet.endpoint)
        await self.client.connect()
        self.addCleanup(self.client.close)
        with Client(fleet.endpoint) as blocking:
            self.answer = blocking.generate("the truth", **self.options)

    async def test_streams_beside_each_other(self):
        answers = await asyncio.gather(*(self.client.generate("the truth", **self.options)
                                         for _ in range(40)))
        for answer in answers:
            self.assertEqual(answer.ids, self.answer.ids)

    async def test_iteration_window_and_chat(self):
        ids = [token.id async for token in
               await self.client.stream("the truth", window=3, **self.options)]
        self.assertEqual(ids, self.answer.ids)
        chat = [{"role": "user", "content": "Hi"}]
        self.assertEqual(len((await self.client.generate(chat, **self.options)).ids), 200)
        self.assertEqual((await self.client.models()).names, ("oracle",))
        self.assertIn("admitted", await self.client.stats())

    async def test_time_limits_cost_no_token(self):
        stream = await self.client.stream("the truth", credits=2, **self.options)
        ids = [(await stream.read()).id, (await stream.read()).id]
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.read(), 0.3)
        stream.credit(200)
        ids += [token.id async for token in stream]
        self.assertEqual(ids, self.answer.ids)

    async def test_cancel_errors_and_takeover(self):
        async with await self.client.stream("x", max_tokens=3000, ignore_eos=True) as stream:
            await stream.read()
        self.assertEqual((await stream.result()).reason, "cancelled")
        for error, options in ((NotFound, {"model": "gpt"}), (TypeError, {"no_such": 1}),
                               (DeadlineExceeded, {"max_tokens": 3000, "timeout": 0.05,
                                                   "ignore_eos": True})):
            with self.assertRaises(error):
                await self.client.generate("x", **options)
        stream = await self.client.stream("the truth", **self.options)
        ids = [(await stream.read()).id for _ in range(20)]
        async with AsyncClient(fleet.endpoint) as other:
            rest = await (await other.attach(stream.detach())).result()
        self.assertEqual(ids + rest.ids, self.answer.ids)

    async def test_a_cut_connection_costs_no_token(self):
        proxy = fleets.Proxy(fleet.endpoint)
        async with AsyncClient(proxy.endpoint) as client:
            stream = await client.stream("the truth", window=20, **self.options)
            for _ in range(10):
                await stream.read()
            proxy.cut()
            answer = await asyncio.wait_for(stream.result(), 30)
        self.assertEqual(answer.ids, self.answer.ids)
        proxy.close()

    async def test_nobody_there(self):
        with self.assertRaises(Unreachable):
            async with AsyncClient("ipc:///tmp/baton-test-nobody-listens", connect_timeout=0.3):
                pass
        idle = AsyncClient(fleet.endpoint)
        with self.assertRaises(RuntimeError):
            await idle.models()
        idle.close()


class WithKeys(unittest.TestCase):
    def test_only_who_is_listed_gets_in(self):
        locked = fleets.Fleet(keys=True)
        try:
            keys = Keys.load(locked.keys, "r")
            self.assertNotIn(keys.secret, repr(keys))
            with Client(locked.endpoint, keys=keys) as client:
                self.assertEqual(len(client.generate("x", max_tokens=3, ignore_eos=True).ids), 3)
            with self.assertRaises(Unreachable):
                Client(locked.endpoint, connect_timeout=0.5)
            stranger = Keys.load(locked.keys, "r", "d")  # a node's key is not a client's
            with self.assertRaises(Unreachable) as caught:
                Client(locked.endpoint, keys=stranger, connect_timeout=0.5)
            self.assertIn("allow-list", str(caught.exception))
            with self.assertRaises(ValueError):
                Client(locked.endpoint, keys=Keys(keys.server, keys.public, "short"))
            self.assertRaises(ValueError, Keys.load, locked.keys, "no-such-node")
            os.chmod(os.path.join(locked.keys, "client.key"), 0o644)
            self.assertRaises(PermissionError, Keys.load, locked.keys, "r")
        finally:
            self.assertEqual(locked.stop(), 0)


if __name__ == "__main__":
    fleets.need_baton()
    unittest.main()
