"""The official client of OpenAI's API against live fleets: unchanged, as its users have it.

The interpreter is the one that runs, or $OPENAI_TEST_PYTHON; without `openai` in it the test is
skipped (77)."""

import asyncio
import os
import sys
import threading
import time
import unittest

import live

try:
    import openai
except ImportError:
    other = os.environ.pop("OPENAI_TEST_PYTHON", None)
    if other:
        os.execv(other, [other, "-B", *sys.argv])
    print("skipped: no openai: python3 -m venv v && v/bin/pip install openai, and set "
          "OPENAI_TEST_PYTHON=v/bin/python")
    sys.exit(live.SKIPPED)

HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {
    "name": "weather", "description": "of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
oracle = demo = None


def setUpModule():
    global oracle, demo
    oracle = live.Fleet(live.ORACLE.format(step_us=1000))
    demo = live.Fleet(live.DEMO)


def tearDownModule():
    for fleet in (oracle, demo):
        code = fleet.stop()
        assert code == 0, f"the fleet ended with {code}"


def client_of(fleet, **options):
    return openai.OpenAI(base_url=fleet.url, api_key="none", **options)


class Blocking(unittest.TestCase):
    def setUp(self):
        self.client = client_of(demo, max_retries=0)
        self.addCleanup(self.client.close)
        self.slow = client_of(oracle, max_retries=0)
        self.addCleanup(self.slow.close)

    def test_models(self):
        (model,) = self.client.models.list().data
        self.assertEqual((model.id, model.owned_by), ("demo", "baton"))
        self.assertEqual(self.client.models.retrieve("demo").id, "demo")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("gpt-4")

    def test_chat_and_seed(self):
        first = self.client.chat.completions.create(
            model="demo", messages=HI, max_completion_tokens=15, temperature=1.2)
        self.assertEqual(first.object, "chat.completion")
        self.assertEqual(first.choices[0].message.role, "assistant")
        self.assertIn(first.choices[0].finish_reason, ("stop", "length"))
        self.assertTrue(first.system_fingerprint)
        self.assertEqual(first.usage.total_tokens,
                         first.usage.prompt_tokens + first.usage.completion_tokens)
        again = self.client.chat.completions.create(
            model="demo", messages=HI, max_completion_tokens=15, temperature=1.2,
            seed=first.model_extra["seed"])
        self.assertEqual(again.choices, first.choices)

    def test_streams(self):
        body = {"model": "demo", "messages": HI, "max_tokens": 200, "seed": 4}
        whole = self.client.chat.completions.create(**body)
        text, usage = "", None
        with self.client.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}) as stream:
            for chunk in stream:
                self.assertEqual(chunk.object, "chat.completion.chunk")
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    text += choice.delta.content or ""
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(usage, whole.usage)
        with self.client.chat.completions.stream(model="demo", messages=HI, max_tokens=200,
                                                 seed=4) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertLessEqual({"chunk", "content.delta", "content.done"}, kinds)
        self.assertEqual(final.choices[0].message.content, whole.choices[0].message.content)

    def test_completions(self):
        answer = self.client.completions.create(model="demo", prompt=["One", "Two"], n=2,
                                                max_tokens=6, logprobs=2, seed=1)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1, 2, 3])
        for choice in answer.choices:
            self.assertEqual("".join(choice.logprobs.tokens), choice.text)
        chunks = list(self.client.completions.create(model="demo", prompt="One", max_tokens=6,
                                                     seed=1, stream=True))
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks),
                         answer.choices[0].text)

    def test_logprobs(self):
        answer = self.client.chat.completions.create(model="demo", messages=HI, max_tokens=5,
                                                     logprobs=True, top_logprobs=3)
        for token in answer.choices[0].logprobs.content:
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertEqual(bytes(token.bytes).decode(errors="replace"), token.token)

    def test_content_parts_and_tools(self):
        """The demo model calls no tools; to be offered some does it no harm."""
        parts = [{"role": "system", "content": "Be kind."},
                 {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
        answer = self.client.chat.completions.create(model="demo", messages=parts, max_tokens=5,
                                                     tools=[TOOL], tool_choice="auto")
        self.assertIsNone(answer.choices[0].message.tool_calls)
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(model="demo", messages=HI, tools=[TOOL],
                                                tool_choice="required")
        self.assertEqual(caught.exception.param, "tool_choice")
        talk = [*HI, {"role": "assistant", "tool_calls": [
                    {"id": "call_1", "type": "function",
                     "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]
        answer = self.slow.chat.completions.create(model="oracle", messages=talk, max_tokens=5,
                                                   tools=[TOOL])
        self.assertEqual(answer.choices[0].message.role, "assistant")

    def test_extra_fields(self):
        answer = self.client.completions.create(
            model="demo", prompt="x", max_tokens=5, seed=1,
            extra_body={"top_k": 1, "min_p": 0.1, "ignore_eos": True, "return_token_ids": True})
        self.assertEqual(len(answer.choices[0].model_extra["token_ids"]), 5)
        named = self.client.completions.with_raw_response.create(
            model="demo", prompt="x", max_tokens=1, extra_headers={"X-Request-Id": "mine-2"})
        self.assertEqual(named.headers["x-request-id"], "mine-2")

    def test_errors(self):
        for kind, fields in ((openai.NotFoundError, {"model": "gpt-4"}),
                             (openai.BadRequestError, {"temperature": -1}),
                             (openai.BadRequestError, {"max_tokens": 100000}),
                             (openai.BadRequestError, {"response_format": {"type": "json_object"}}),
                             (openai.BadRequestError, {"n": 0})):
            for stream in (False, True):
                with self.subTest(fields), self.assertRaises(kind) as caught:
                    self.client.chat.completions.create(
                        **{"model": "demo", "messages": HI, "stream": stream, **fields})
                self.assertGreater(len(caught.exception.body["message"]), 15)

    def test_timeouts(self):
        begin = time.monotonic()
        with self.assertRaises(openai.APITimeoutError):
            self.slow.completions.create(model="oracle", prompt="x", max_tokens=3900, timeout=0.3,
                                         extra_body={"ignore_eos": True})
        self.assertLess(time.monotonic() - begin, 10)
        stream = self.slow.completions.create(model="oracle", prompt="x", max_tokens=3900,
                                              stream=True, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()

    def test_many_at_once(self):
        def one(i, out):
            out[i] = self.slow.completions.create(model="oracle", prompt=f"prompt {i}", seed=i,
                                                  max_tokens=50).choices[0].text

        for _ in range(2):
            texts = [None] * 20, [None] * 20
            for out in texts:
                threads = [threading.Thread(target=one, args=(i, out)) for i in range(20)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            self.assertEqual(texts[0], texts[1])


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def test_streams_at_once(self):
        async with openai.AsyncOpenAI(base_url=oracle.url, api_key="none", max_retries=0) as client:
            async def one(i, stream):
                body = {"model": "oracle", "prompt": f"p{i}", "seed": i, "max_tokens": 40}
                if not stream:
                    return (await client.completions.create(**body)).choices[0].text
                text = ""
                async for chunk in await client.completions.create(**body, stream=True):
                    text += chunk.choices[0].text
                return text

            streamed = await asyncio.gather(*(one(i, True) for i in range(30)))
            whole = await asyncio.gather(*(one(i, False) for i in range(30)))
            self.assertEqual(streamed, whole)
            with self.assertRaises(openai.NotFoundError):
                await client.completions.create(model="no", prompt="x")


class Retries(unittest.TestCase):
    def test_full_fleet(self):
        """429 with Retry-After from the fleet itself: without patience an error, with it none."""
        fleet = live.Fleet("router: { queue_max: 1, requests_max: 2 }\n"
                           + live.ORACLE.format(step_us=2000))
        try:
            slow = {"model": "oracle", "prompt": "x", "max_tokens": 300,
                    "extra_body": {"ignore_eos": True}}
            with client_of(fleet, max_retries=0) as impatient, \
                    client_of(fleet, max_retries=8) as patient:
                streams = [patient.completions.create(**slow, stream=True) for _ in range(2)]
                with self.assertRaises(openai.RateLimitError) as caught:
                    impatient.completions.create(**slow)
                self.assertGreaterEqual(float(caught.exception.response.headers["retry-after"]), 1)
                self.assertEqual(patient.completions.create(**slow).usage.completion_tokens, 300)
                for stream in streams:
                    self.assertEqual(sum(1 for _ in stream), 301)
        finally:
            self.assertEqual(fleet.stop(), 0)


if __name__ == "__main__":
    unittest.main()
