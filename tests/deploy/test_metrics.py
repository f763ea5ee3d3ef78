"""/metrics, the access log, API keys and the dashboard, against a live fleet of oracles.

Sends a known set of requests through both doors and compares every count with it; checks the text
format line by line; and that the dashboard asks only for metrics that exist."""

import ctypes
import http.client
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
ROOT = os.environ.get("BATON_ROOT", os.path.join(os.path.dirname(__file__), "..", ".."))
BATON = os.path.join(os.environ.get("BATON_BUILD", os.path.join(ROOT, "build")), "baton")
DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "baton.json")
PATIENCE_S = 60.0
PR_SET_PDEATHSIG = 1

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ALICE, BOB, ENV = "alice-0123456789abcdef", "bob-0123456789abcdef", "env-0123456789abcdef"
FLEET = ("oracle: { layers: 2, head_dim: 16 }\nkv: { blocks: 64 }\n"
         "engine: { len_max: 4096 }\nhttp: { keys: keys.txt }\n"
         "nodes:\n- { name: r, role: router, clients: '127.0.0.1:0', http: '127.0.0.1:0' }\n"
         "- { name: p, role: prefill }\n- { name: d, role: decode }\n")
N_BLOCKS = 64


class Fleet:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="baton-test-")
        env = dict(os.environ, TMPDIR=self.folder, BATON_API_KEY=ENV)
        env.pop("XDG_RUNTIME_DIR", None)
        self.file = os.path.join(self.folder, "fleet.yaml")
        with open(self.file, "w", encoding="ascii") as out:
            out.write(FLEET)
        with open(os.path.join(self.folder, "keys.txt"), "w", encoding="ascii",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(f"# people\nalice: {ALICE}\n\n  bob:{BOB}  \n")
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [BATON, "up", self.file, "--log.format", "json"], env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        text = self._await(b"/v1\n")
        self.clients = re.search(r"ready clients=(\S+)", text)[1]
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)/v1", text)[1])

    def _await(self, end):
        until, text = time.monotonic() + PATIENCE_S, b""
        while end not in text and time.monotonic() < until:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                more = os.read(self.process.stdout.fileno(), 4096)
                text += more
                if not more:
                    break
        assert end in text, f"the fleet did not get ready: {text!r}\n{self.log()}"
        return text.decode()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def call(self, method, path, body=None, key=None, label=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        headers = {}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        if label:
            headers["X-Request-Id"] = label
            headers["traceparent"] = TRACE if label == "mine-10" else "00-no-trace-01"
        conn.request(method, path, None if body is None else json.dumps(body), headers)
        answer = conn.getresponse()
        text = answer.read().decode()
        conn.close()
        return answer, text

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        log = self.log()
        shutil.rmtree(self.folder)
        return self.process.returncode, log


# ---- the text format ----

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\n"])*)"(?:,|\Z)')
SUFFIXES = ("_bucket", "_sum", "_count")


def labels_of(text):
    labels, at = {}, 0
    while at < len(text):
        one = LABEL.match(text, at)
        assert one, f"not labels: {text}"
        assert one[1] not in labels, f"a label twice: {text}"
        labels[one[1]] = one[2]
        at = one.end()
    return labels


def parse(text):
    """{(name, ((label, value), ...)): value} of all samples, and {family: type}."""
    samples, types, helped, family = {}, {}, None, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert helped not in types, f"a family in two places: {helped}"
            assert len(line.split(" ", 3)[3]) > 5, line
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family == helped, f"TYPE without its HELP: {line}"
            assert kind in ("counter", "gauge", "histogram"), line
            types[family] = kind
        else:
            sample = SAMPLE.match(line)
            assert sample, f"not a sample: {line!r}"
            name, labels = sample[1], labels_of(sample[2] or "")
            if types[family] == "histogram":
                assert name in [family + suffix for suffix in SUFFIXES], line
            else:
                assert name == family, line
            key = (name, tuple(sorted(labels.items())))
            assert key not in samples, f"a series twice: {line}"
            samples[key] = float(sample[3])
    return samples, types


def check_histograms(samples, types):
    for family in (name for name, kind in types.items() if kind == "histogram"):
        rows = {}
        for (name, labels), value in samples.items():
            if name == family + "_bucket":
                rest = tuple(label for label in labels if label[0] != "le")
                rows.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        assert rows, family
        for rest, buckets in rows.items():
            bounds, counts = zip(*buckets)
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == float("inf"), family
            assert list(counts) == sorted(counts), f"{family} falls: {counts}"
            assert counts[-1] == samples[(family + "_count", rest)], family
            assert (samples[(family + "_sum", rest)] > 0) <= (counts[-1] > 0), family


class Scrape:
    def __init__(self, fleet):
        answer, self.text = fleet.call("GET", "/metrics")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        self.samples, self.types = parse(self.text)
        check_histograms(self.samples, self.types)

    def __call__(self, name, **labels):
        found = [value for (one, got), value in self.samples.items()
                 if one == name and labels.items() <= dict(got).items()]
        assert found, f"there is no {name} {labels}"
        return sum(found)

    def names(self):
        return {name for name, _ in self.samples}


# ---- what is sent ----

class Sent:
    """What the clients were told, to compare with."""

    def __init__(self):
        self.done = self.prompt = self.emitted = self.gaps = 0
        self.stops = 0
        self.unreported = 0  # by a decode node: it had no part, or no last word
        self.by_key = {"alice": [0, 0], "bob": [0, 0], "env": [0, 0]}

    def add(self, key, prompt, tokens):
        """One answer after another: the tokens of each."""
        for n in tokens:
            self.done += 1
            self.prompt += prompt
            self.emitted += n
            self.gaps += n - 1
            self.unreported += n == 1
            if key:
                self.by_key[key][0] += prompt
                self.by_key[key][1] += n


def completion(**more):
    return dict({"model": "oracle", "prompt": "hello", "max_tokens": 10, "ignore_eos": True},
                **more)


def send_good(fleet, sent):
    for n in (1, 2, 10):
        answer, text = fleet.call("POST", "/v1/completions", completion(max_tokens=n), ALICE,
                                  label=f"mine-{n}")
        assert answer.status == 200 and json.loads(text)["usage"]["completion_tokens"] == n, text
        sent.add("alice", 5, [n])
    _, text = fleet.call("POST", "/v1/completions", completion(seed=7), ENV)
    sent.add("env", 5, [10])
    whole = json.loads(text)["choices"][0]["text"]
    _, text = fleet.call("POST", "/v1/completions", completion(seed=7, stop=whole[2:6]),
                         ENV)
    stopped = json.loads(text)
    equal(stopped["choices"][0]["finish_reason"], "stop", "the end at a stop string")
    sent.add("env", 5, [stopped["usage"]["completion_tokens"]])
    sent.stops += 1
    sent.unreported += 1
    answer, text = fleet.call("POST", "/v1/completions",
                              completion(n=2, stream=True, prompt="four"), BOB)
    assert answer.status == 200 and text.endswith("data: [DONE]\n\n"), text
    sent.add("bob", 4, [10, 10])
    chat = {"model": "oracle", "max_tokens": 6, "ignore_eos": True,
            "messages": [{"role": "user", "content": "Hi"}]}
    answer, text = fleet.call("POST", "/v1/chat/completions", chat, ENV)
    usage = json.loads(text)["usage"]
    sent.add("env", usage["prompt_tokens"], [usage["completion_tokens"]])
    subprocess.run([BATON, "chat", "--config", fleet.file, "--connect", fleet.clients, "--raw",
                    "--tokens", "7", "--ignore-eos", "zmq"], check=True, timeout=PATIENCE_S,
                   stdout=subprocess.DEVNULL, env=dict(os.environ, BATON_API_KEY=ENV))
    sent.add(None, 3, [7])


def send_bad(fleet):
    """How often which route and code was answered."""
    for key in (None, "wrong-0123456789abcdef", ALICE[:-1], ALICE + "x"):
        answer, text = fleet.call("POST", "/v1/completions", completion(), key)
        assert answer.status == 401, text
        assert json.loads(text)["error"]["code"] == "invalid_api_key"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert fleet.call("GET", "/v1/models")[0].status == 401
    assert fleet.call("GET", "/v1/models", key=ENV)[0].status == 200
    assert fleet.call("GET", "/health")[0].status == 200
    assert fleet.call("GET", "/nowhere")[0].status == 404
    assert fleet.call("GET", "/v1/completions")[0].status == 405
    assert fleet.call("POST", "/v1/completions", {"model": "oracle"}, BOB)[0].status == 400
    assert fleet.call("POST", "/v1/completions", completion(model="x"), BOB)[0].status == 404
    assert fleet.call("POST", "/tokenize", {"model": "oracle", "prompt": "a"}, BOB)[0].status == 200


def leave(fleet):
    """Begins an answer and goes away."""
    conn = http.client.HTTPConnection("127.0.0.1", fleet.port, timeout=PATIENCE_S)
    conn.request("POST", "/v1/completions",
                 json.dumps(completion(max_tokens=4000, stream=True)),
                 {"Authorization": f"Bearer {BOB}", "X-Request-Id": "leaves"})
    answer = conn.getresponse()
    answer.readline()
    answer.close()
    conn.close()
    until = time.monotonic() + PATIENCE_S
    while True:
        scrape = Scrape(fleet)
        if scrape("baton_requests_cancelled_total") == 1 and scrape("baton_requests") == 0:
            return scrape
        assert time.monotonic() < until, "the request of a client who left goes on"


# ---- what it must be ----

HTTP_COUNTS = {("/v1/completions", 200): 6, ("/v1/completions", 401): 4,
               ("/v1/completions", 405): 1, ("/v1/completions", 400): 1,
               ("/v1/completions", 404): 1, ("/v1/completions", 499): 1,
               ("/v1/chat/completions", 200): 1, ("/v1/models", 401): 1, ("/v1/models", 200): 1,
               ("/health", 200): 1, ("none", 404): 1, ("/tokenize", 200): 1}
OWN_STAGES = ("e2e", "router_queue", "prefill_queue", "prefill")
VLLM_STAGES = ("e2e_request_latency_seconds", "request_queue_time_seconds",
               "request_prefill_time_seconds", "request_decode_time_seconds",
               "request_inference_time_seconds", "request_prompt_tokens",
               "request_generation_tokens")


def equal(found, expected, what):
    assert found == expected, f"{what}: expected {expected}, found {found}"


def check_counts(scrape, sent):
    equal(scrape("baton_requests_admitted_total"), sent.done, "admitted")
    equal(scrape("baton_requests_done_total"), sent.done, "done")
    equal(scrape("baton_requests_refused_total"), 1, "refused")  # the other model
    equal(scrape("baton_tokens_total"), sent.emitted, "tokens")
    equal(scrape("baton_tokens_sent_total"), sent.emitted, "tokens sent")
    equal(scrape("vllm:prompt_tokens_total", model_name="oracle"), sent.prompt, "prompt tokens")
    equal(scrape("vllm:generation_tokens_total"), sent.emitted, "vllm's tokens")
    equal(scrape("vllm:request_success_total", finished_reason="stop"), sent.stops, "stop")
    equal(scrape("vllm:request_success_total", finished_reason="length"), sent.done - sent.stops,
          "length")
    equal(scrape("vllm:request_success_total"), sent.done, "all ends")
    for name in ("baton_ttft", "vllm:time_to_first_token"):
        equal(scrape(f"{name}_seconds_count"), sent.done, name)
    for name in ("baton_inter_token", "vllm:inter_token_latency", "vllm:time_per_output_token"):
        equal(scrape(f"{name}_seconds_count"), sent.gaps, name)
    for name in OWN_STAGES:
        equal(scrape(f"baton_{name}_seconds_count"), sent.done, name)
    for name in VLLM_STAGES:
        equal(scrape(f"vllm:{name}_count"), sent.done, name)
    for name in ("transfer", "decode_queue", "decode"):
        equal(scrape(f"baton_{name}_seconds_count"), sent.done - sent.unreported, name)
    equal(scrape("vllm:request_prompt_tokens_sum"), sent.prompt, "sum of prompts")
    equal(scrape("vllm:request_generation_tokens_sum"), sent.emitted, "sum of answers")
    assert scrape("baton_transfer_bytes_total") > 0
    for key, (prompt, emitted) in sent.by_key.items():
        equal(scrape("baton_key_prompt_tokens_total", key=key), prompt, key)
        equal(scrape("baton_key_generation_tokens_total", key=key), emitted, key)
    equal(scrape("baton_key_requests_total", key="alice"), 3, "alice's")
    total, first = scrape("baton_e2e_seconds_sum"), scrape("baton_ttft_seconds_sum")
    gaps = scrape("baton_inter_token_seconds_sum")
    assert -1e-4 < total - first - gaps < 0.5 * total, (total, first, gaps)


def check_levels(scrape):
    for name in ("baton_requests", "baton_requests_queued", "vllm:num_requests_running",
                 "vllm:num_requests_waiting", "baton_tokens_differing_total"):
        equal(scrape(name), 0, name)
    equal(scrape("baton_ready"), 1, "ready")
    equal(scrape("baton_nodes_ready"), 2, "nodes")
    for node, role in (("p", "prefill"), ("d", "decode")):
        equal(scrape("baton_node_up", node=node, role=role), 1, node)
        equal(scrape("baton_node_ready", node=node, role=role), 1, node)
        equal(scrape("baton_node_kv_blocks", node=node, role=role), N_BLOCKS, node)
    assert 0 <= scrape("vllm:kv_cache_usage_perc") <= 1
    assert scrape("process_resident_memory_bytes") > 1e6
    assert 0 < scrape("process_cpu_seconds_total") < PATIENCE_S
    assert abs(scrape("process_start_time_seconds") - time.time()) < PATIENCE_S
    equal(scrape("baton_build_info", model="oracle"), 1, "build info")


def check_after_leaving(scrape, sent):
    equal(scrape("vllm:request_success_total", finished_reason="abort"), 1, "abort")
    equal(scrape("baton_request_errors_total", status="CANCELLED"), 1, "cancelled")
    equal(scrape("vllm:request_success_total"), sent.done + 1, "all ends")
    equal(scrape("baton_e2e_seconds_count"), sent.done, "e2e is of answers that are done")
    equal(scrape("baton_http_cut_total"), 1, "cut")
    for (route, code), n in HTTP_COUNTS.items():
        equal(scrape("baton_http_requests_total", route=route, code=str(code)), n, (route, code))
    counted = {(dict(labels)["route"], int(dict(labels)["code"]))
               for name, labels in scrape.samples if name == "baton_http_requests_total"}
    equal(counted - {("/metrics", 200)}, set(HTTP_COUNTS), "routes")


def check_dashboard(scrape):
    with open(DASHBOARD, encoding="utf-8") as file:
        dashboard = json.load(file)
    exprs = [target["expr"] for panel in dashboard["panels"]
             for target in panel.get("targets", [])]
    exprs += [variable["definition"] for variable in dashboard["templating"]["list"]
              if variable["type"] == "query"]
    assert len(exprs) > 20
    for expr in exprs:
        names = re.findall(r"\b(?:baton_|vllm:|process_)[a-zA-Z0-9_:]*", expr)
        assert names, f"no metric in {expr}"
        for name in names:
            assert name in scrape.names(), f"the dashboard asks for {name}, which does not exist"
    ids = [panel["id"] for panel in dashboard["panels"]]
    equal(len(ids), len(set(ids)), "panels' ids")


def check_access(log, sent):
    lines = []
    for line in log.splitlines():
        at = line.find("{")
        try:
            record = json.loads(line[at:]) if at >= 0 else {}
        except ValueError:
            continue
        if record.get("component") == "access":
            lines.append(record)
    over = [line for line in lines if "req" in line]
    done = [line for line in over if line["status"] == "DONE"]
    equal(len(done), sent.done, "lines of answers that are done")
    equal(sum(line["tokens"] for line in done), sent.emitted, "their tokens")
    equal(sum(line["prompt_tokens"] for line in done), sent.prompt, "their prompts")
    mine = [line for line in done if line["label"] == "mine-10"]
    equal(len(mine), 1, "lines with the label mine-10")
    mine = mine[0]
    for name, value in (("key", "alice"), ("door", "http"), ("api", "completions"),
                        ("model", "oracle"), ("finish", "length"), ("prefill", "p"),
                        ("decode", "d"), ("sent", 10), ("attempts", 1), ("choice", "0"),
                        ("traceparent", TRACE)):
        equal(mine[name], value, name)
    equal(sum("traceparent" in line for line in over), 1, "lines with a trace that is one")
    assert 0 < mine["ttft_us"] <= mine["total_us"] and mine["transfer_bytes"] > 0, mine
    equal({line["door"] for line in done}, {"http", "zmq"}, "doors")
    left = [line for line in over if line["status"] == "CANCELLED"]
    equal([line["label"] for line in left], ["leaves"], "who left")
    refused = [line.get("http") or line["status"] for line in lines if "req" not in line]
    equal(sorted(map(str, refused)),
          sorted(["401"] * 5 + ["404", "405", "400", "200", "NOT_FOUND"]), "other lines")
    for key in (ALICE, BOB, ENV):
        assert key not in log, "a key is in the log"


def main():
    if not os.path.exists(BATON):
        print(f"skipped: there is no {BATON}")
        sys.exit(SKIPPED)
    fleet, sent = Fleet(), Sent()
    try:
        send_good(fleet, sent)
        send_bad(fleet)
        scrape = Scrape(fleet)
        check_counts(scrape, sent)
        check_levels(scrape)
        scrape = leave(fleet)
        check_after_leaving(scrape, sent)
        check_dashboard(scrape)
        for key in (ALICE, BOB, ENV):
            assert key not in scrape.text, "a key is in the metrics"
    except BaseException:
        print(fleet.log()[-6000:])
        raise
    finally:
        code, log = fleet.stop()
    equal(code, 0, "exit status")
    check_access(log, sent)
    print(f"{len(scrape.names())} names, {len(scrape.samples)} series, all as sent")


if __name__ == "__main__":
    main()
