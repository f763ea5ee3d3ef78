"""The HTTP door of live fleets, through real sockets: every route, streams as OpenAI sends them,
answers that are given again, clients that leave, requests that are none."""

import json
import os
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))
import fleet as clients  # noqa: E402,F401  first: it finds the libraries

from baton_client import Client  # noqa: E402

import live  # noqa: E402

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
GONE_S = 0.1  # from a client's end to its blocks'
oracle = demo = None


def setUpModule():
    global oracle, demo
    oracle = live.Fleet(live.ORACLE.format(step_us=1000))
    demo = live.Fleet(live.DEMO)


def tearDownModule():
    for fleet in (oracle, demo):
        code = fleet.stop()
        assert code == 0, f"the fleet ended with {code}"


def ask(fleet, path, body, headers=""):
    with live.Raw(fleet.address) as raw:
        raw.post(path, body, headers)
        return raw.answer()


def hi(**fields):
    return {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 12, **fields}


def text_of(events):
    """Of a stream's choices: index -> text."""
    texts = {}
    for event in events[:-1]:
        for choice in event["choices"]:
            piece = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
            texts[choice["index"]] = texts.get(choice["index"], "") + piece
    return texts


class Routes(unittest.TestCase):
    def test_small_answers(self):
        with live.Raw(demo.address) as raw:  # all on one connection
            for path in ("/health", "/livez", "/readyz", "/version", "/v1/models",
                         "/v1/models/demo"):
                raw.get(path)
                whole = raw.answer("GET")
                self.assertEqual(whole.status, 200, path)
                raw.get(path, "HEAD")
                head = raw.answer("HEAD")
                self.assertEqual((head.status, head.headers["content-length"]),
                                 (200, str(len(whole.body))))
            raw.get("/v1/models")
            (model,) = raw.answer().json["data"]
            self.assertEqual((model["id"], model["object"], model["max_model_len"]),
                             ("demo", "model", 2048))
            self.assertLess(abs(model["created"] - time.time()), 100)
            raw.get("/v1/models/gpt-4")
            error = raw.answer()
            self.assertEqual((error.status, error.json["error"]["code"]), (404, "model_not_found"))

    def test_pipelined(self):
        with live.Raw(demo.address) as raw:
            raw.post(COMPLETIONS, {"prompt": "One", "max_tokens": 3})
            raw.get("/version")
            raw.post("/tokenize", {"prompt": "One"})
            self.assertEqual(raw.answer().json["object"], "text_completion")
            self.assertIn("version", raw.answer().json)
            self.assertIn("tokens", raw.answer().json)

    def test_tokens_there_and_back(self):
        for fleet in (demo, oracle):
            for text in ("Hello, world", " a  b\n\tc", "Grüße, 世界 🙂"):
                ids = ask(fleet, "/tokenize", {"prompt": text, "add_special_tokens": False,
                                               "return_token_strs": True}).json
                self.assertEqual((ids["count"], len(ids["token_strs"])), (len(ids["tokens"]),) * 2)
                self.assertEqual(
                    ask(fleet, "/detokenize", {"tokens": ids["tokens"]}).json["prompt"], text)
        chat = ask(demo, "/tokenize", {"messages": hi()["messages"]}).json
        usage = ask(demo, CHAT, hi()).json["usage"]
        self.assertEqual(chat["count"], usage["prompt_tokens"])


class Streams(unittest.TestCase):
    def check_stream(self, path, body):
        answer = ask(demo, path, {**body, "stream": True,
                                  "stream_options": {"include_usage": True}})
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["content-type"].startswith("text/event-stream"))
        events = answer.events
        self.assertEqual(events[-1], "[DONE]")
        for name in ("id", "created", "model", "object", "system_fingerprint", "seed"):
            self.assertEqual(len({str(event[name]) for event in events[:-1]}), 1, name)
        self.assertEqual(events[-2]["choices"], [])
        usage = events[-2]["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertTrue(all(event["usage"] is None for event in events[:-2]))
        finishes = [event["choices"][0]["finish_reason"] for event in events[:-2]]
        self.assertEqual([reason for reason in finishes if reason], finishes[-1:])
        return events, usage

    def test_chat(self):
        events, usage = self.check_stream(CHAT, hi())
        roles = [event["choices"][0]["delta"].get("role") for event in events[:-2]]
        self.assertEqual(roles, ["assistant"] + [None] * (len(roles) - 1))
        self.assertEqual(events[-3]["choices"][0]["delta"], {})
        self.assertTrue(events[0]["id"].startswith("chatcmpl-"))
        self.assertLessEqual(usage["completion_tokens"], 12)

    def test_completion(self):
        events, usage = self.check_stream(COMPLETIONS, {"prompt": "Once upon", "max_tokens": 9,
                                                        "ignore_eos": True})
        self.assertEqual(usage["completion_tokens"], 9)
        self.assertEqual(events[-3]["choices"][0]["finish_reason"], "length")

    def test_any_answer_again(self):
        """Streamed or whole, alone or in a choice: the seed gives the same answer, bit for bit."""
        cases = [(demo, CHAT, hi(max_tokens=30, temperature=1.3)),
                 (demo, COMPLETIONS, {"prompt": "The sea", "max_tokens": 40, "temperature": 1.5}),
                 (oracle, COMPLETIONS, {"prompt": "x" * 300, "max_tokens": 100, "logprobs": 2,
                                        "ignore_eos": True}),
                 (demo, COMPLETIONS, {"prompt": ["A", "B"], "n": 2, "max_tokens": 20})]
        for fleet, path, body in cases:
            with self.subTest(body):
                first = ask(fleet, path, body).json
                body = {**body, "seed": first["seed"]}
                again = ask(fleet, path, body).json
                self.assertEqual(again["choices"], first["choices"])
                self.assertEqual(again["system_fingerprint"], first["system_fingerprint"])
                texts = text_of(ask(fleet, path, {**body, "stream": True}).events)
                whole = {choice["index"]: choice.get("text", (choice.get("message") or {})
                                                     .get("content"))
                         for choice in first["choices"]}
                self.assertEqual(texts, whole)

    def test_choices(self):
        body = {"prompt": ["A", "B"], "n": 3, "max_tokens": 20, "temperature": 1.5, "seed": 5,
                "ignore_eos": True}
        answer = ask(oracle, COMPLETIONS, body).json
        self.assertEqual([choice["index"] for choice in answer["choices"]], list(range(6)))
        self.assertEqual(len({choice["text"] for choice in answer["choices"]}), 6)
        self.assertEqual(answer["usage"], {
            "prompt_tokens": 2, "completion_tokens": 120, "total_tokens": 122,
            "prompt_tokens_details": {"cached_tokens": 0}})
        alone = ask(oracle, COMPLETIONS, {**body, "prompt": "A", "n": 1}).json
        self.assertEqual(alone["choices"][0]["text"], answer["choices"][0]["text"])


class Fields(unittest.TestCase):
    def test_stop_strings(self):
        """A stop string ends the text wherever its letters are cut into tokens."""
        body = {"prompt": "The sea", "max_tokens": 60, "seed": 3, "ignore_eos": True,
                "return_token_ids": True}
        whole = ask(demo, COMPLETIONS, body).json["choices"][0]["text"]
        for start in range(3, 40, 6):
            stop = whole[start:start + 5]
            at = whole.find(stop)
            for stream in (False, True):
                answer = ask(demo, COMPLETIONS, {**body, "stop": [stop, "\0never"],
                                                 "stream": stream})
                if stream:
                    texts, choice = text_of(answer.events)[0], answer.events[-2]["choices"][0]
                else:
                    choice = answer.json["choices"][0]
                    texts = choice["text"]
                self.assertEqual(texts, whole[:at])
                self.assertEqual((choice["finish_reason"], choice["stop_reason"]), ("stop", stop))
            told = ask(demo, COMPLETIONS, {**body, "stop": stop,
                                           "include_stop_str_in_output": True}).json
            self.assertEqual(told["choices"][0]["text"], whole[:at + len(stop)])

    def test_stop_ids_bias_and_ids(self):
        body = {"prompt": "x", "max_tokens": 50, "seed": 11, "ignore_eos": True,
                "return_token_ids": True}
        whole = ask(demo, COMPLETIONS, body).json["choices"][0]
        ids = whole["token_ids"]
        self.assertEqual((len(ids), whole["prompt_token_ids"]),
                         (50, ask(demo, "/tokenize", {"prompt": "x"}).json["tokens"]))
        stop = ids[20]
        cut = ask(demo, COMPLETIONS, {**body, "stop_token_ids": [stop]}).json["choices"][0]
        self.assertEqual((cut["finish_reason"], cut["stop_reason"]), ("stop", stop))
        self.assertEqual(cut["token_ids"], ids[:ids.index(stop) + 1])
        bias = ask(demo, COMPLETIONS, {**body, "logit_bias": {str(stop): 100}}).json["choices"][0]
        self.assertEqual(bias["token_ids"], [stop] * 50)
        streamed = []
        for event in ask(demo, COMPLETIONS, {**body, "stream": True}).events[:-1]:
            streamed += event["choices"][0]["token_ids"] or []
        self.assertEqual(streamed, ids)

    def test_echo_and_logprobs(self):
        body = {"prompt": "Once upon", "max_tokens": 5, "seed": 1}
        plain = ask(demo, COMPLETIONS, body).json["choices"][0]["text"]
        self.assertEqual(ask(demo, COMPLETIONS, {**body, "echo": True}).json["choices"][0]["text"],
                         "Once upon" + plain)
        ids = ask(demo, "/tokenize", {"prompt": "Once upon"}).json["tokens"]
        echo = ask(demo, COMPLETIONS, {**body, "prompt": ids, "echo": True, "stream": True})
        self.assertTrue(text_of(echo.events)[0].endswith("Once upon" + plain))
        logprobs = ask(demo, COMPLETIONS, {**body, "logprobs": 3}).json["choices"][0]["logprobs"]
        self.assertEqual("".join(logprobs["tokens"]), plain)
        self.assertTrue(all(len(top) <= 4 for top in logprobs["top_logprobs"]))
        chat = ask(demo, CHAT, hi(logprobs=True, top_logprobs=2)).json["choices"][0]
        for token in chat["logprobs"]["content"]:
            self.assertLessEqual(token["logprob"], 0)
            self.assertEqual(len(token["top_logprobs"]), 2)


class Leavers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = Client(oracle.clients, agent="test")
        cls.addClassCleanup(cls.client.close)

    def await_requests(self, n, bound_s):
        """Seconds until the router has n requests."""
        begin = time.monotonic()
        while int(self.client.stats()["requests"]) != n:
            if time.monotonic() - begin > bound_s:
                self.fail(f"still {self.client.stats()['requests']} requests, not {n}")
        return time.monotonic() - begin

    def await_blocks(self, n):
        """The nodes tell of their blocks with each heartbeat."""
        end = time.monotonic() + 5
        while int(self.client.stats()["blocks_free"]) != n:
            self.assertLess(time.monotonic(), end)

    def test_gone_in_a_stream(self):
        self.await_requests(0, 5)
        free = int(self.client.stats()["blocks"])
        self.await_blocks(free)
        for stream in (True, False):
            raws = [live.Raw(oracle.address) for _ in range(5)]
            for raw in raws:
                raw.post(COMPLETIONS, {"prompt": "x" * 100, "max_tokens": 3900,
                                       "ignore_eos": True, "stream": stream})
                if stream:
                    raw.until(b"data: ")
            self.await_requests(5, 10)
            for raw in raws:
                raw.close()
            # 5 times what is promised: other tests share the machine
            self.assertLess(self.await_requests(0, 5), 5 * GONE_S)
            self.await_blocks(free)

    def test_gone_while_it_is_read(self):
        """At every moment between the body's last byte and the first token."""
        self.await_requests(0, 5)
        body = json.dumps({"prompt": "x y " * 900, "max_tokens": 400, "ignore_eos": True}).encode()
        for i in range(40):
            raw = live.Raw(oracle.address)
            raw.post(COMPLETIONS, body)
            end = time.perf_counter() + i * 0.0002
            while time.perf_counter() < end:
                pass
            raw.close()
        self.await_requests(0, 5)
        self.await_blocks(int(self.client.stats()["blocks"]))


class Errors(unittest.TestCase):
    def test_each_in_openais_shape(self):
        rows = [(404, "not_found", "/v1/nothing", {"prompt": "x"}),
                (405, "method_not_allowed", "/health", {}),
                (404, "model_not_found", COMPLETIONS, {"prompt": "x", "model": "gpt"}),
                (400, "context_length_exceeded", COMPLETIONS, {"prompt": "x", "max_tokens": 5000}),
                (400, "context_length_exceeded", COMPLETIONS, {"prompt": "x" * 5000}),
                (413, "request_too_large", COMPLETIONS, b" " * (8 << 20) + b"{}")]
        for status, code, path, body in rows:
            with self.subTest(path=path, code=code):
                answer = ask(oracle, path, body, "X-Request-Id: mine-1\r\n")
                error = answer.json["error"]
                self.assertEqual((answer.status, set(error)),
                                 (status, {"message", "type", "param", "code"}))
                if status != 413:
                    self.assertEqual(error["code"], code)
                    self.assertEqual(answer.headers.get("x-request-id"), "mine-1")
                self.assertGreater(len(error["message"]), 15)

    def test_bad_bodies(self):
        """The corpus of bodies gets the same answers through a socket."""
        paths = {"completions": COMPLETIONS, "chat": CHAT, "tokenize": "/tokenize",
                 "detokenize": "/detokenize"}
        n = 0
        with open(os.path.join(live.ROOT, "tests", "router", "openai_bad.txt"), "rb") as file:
            rows = [line.rstrip(b"\n").split(b"\t") for line in file
                    if line.strip() and not line.startswith(b"#")]
        with live.Raw(oracle.address) as raw:
            for name, endpoint, status, field, words, body in rows:
                made = re.match(rb"@(\w+) (.*)", body)
                if made and made[1] == b"hex":
                    body = bytes.fromhex(made[2].decode())
                elif made:
                    continue  # sizes that are made in C
                raw.post(paths[endpoint.decode()], body)
                answer = raw.answer()
                error = answer.json["error"]
                known = (answer.status, error["param"] or "-")
                if known != (int(status), field.decode()) or words.decode() not in error["message"]:
                    # Two ids in it are none of this model, and are refused for that.
                    self.assertIn("256", error["message"], (name, answer.status, error))
                n += 1
        self.assertGreater(n, 200)

    def test_bad_http(self):
        n = 0
        with open(os.path.join(live.ROOT, "tests", "http", "bad_http.txt"),
                  encoding="ascii") as file:
            for line in file:
                if line.startswith("#") or not line.strip():
                    continue
                name, status, text = line.rstrip("\n").split("\t")
                data = text.encode().decode("unicode_escape").encode("latin1")
                data = re.sub(rb"@(\d+)", lambda match: b"a" * int(match[1]), data)
                with self.subTest(name), live.Raw(oracle.address) as raw:
                    raw.send(data)
                    answer = raw.answer()
                    self.assertEqual(answer.status, int(status))
                    self.assertIn("error", answer.json)
                    if answer.headers["connection"] == "close":
                        self.assertTrue(raw.closed())
                    n += 1
        self.assertGreaterEqual(n, 50)
        self.assertEqual(ask(oracle, COMPLETIONS, {"prompt": "x"}).status, 200)

    def test_a_body_in_chunks(self):
        with live.Raw(oracle.address) as raw:
            raw.send(b"POST /tokenize HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n")
            self.assertEqual(raw.head()[0], 100)
            for piece in (b'{"prom', b'pt":"ab"}'):
                raw.send(b"%x;name=value\r\n%s\r\n" % (len(piece), piece))
            raw.send(b"0\r\nTrailer: x\r\n\r\n")
            self.assertEqual(raw.answer().json["tokens"], [97, 98])


class Ends(unittest.TestCase):
    def test_drained(self):
        """A stream that runs ends whole; who comes now is told to go elsewhere."""
        fleet = live.Fleet(live.ORACLE.format(step_us=2000))
        try:
            stream, idle = live.Raw(fleet.address), live.Raw(fleet.address)
            stream.post(COMPLETIONS, {"prompt": "x", "max_tokens": 600, "ignore_eos": True,
                                      "stream": True})
            head = stream.head()
            os.kill(fleet.process.pid, 15)
            events = stream._chunks()
            self.assertEqual(head[0], 200)
            self.assertTrue(events.endswith(b"data: [DONE]\n\n"))
            self.assertEqual(events.count(b"data: "), 602)
            self.assertTrue(idle.closed())
            stream.close()
            idle.close()
        finally:
            self.assertEqual(fleet.stop(), 0)


if __name__ == "__main__":
    unittest.main()
