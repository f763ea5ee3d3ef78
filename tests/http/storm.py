"""A storm on a live fleet, by hand: `storm.py BUILD [streams|hostile|loris|leave|zmq]... [--n N]`.

  streams   N streams of 100 tokens, three rounds: the same tokens each time, memory, CPU a token
  hostile   the same beside a prompt of 1 MiB a second
  loris     2000 connections that dribble, streams beside them
  leave     clients that leave at any moment for S seconds; then nothing is left of them
  zmq       N streams through ZeroMQ, three rounds"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
arguments = argparse.ArgumentParser()
arguments.add_argument("build")
arguments.add_argument("what", nargs="+")
arguments.add_argument("--n", type=int, default=1000)
arguments.add_argument("--tokens", type=int, default=100)
arguments.add_argument("--seconds", type=int, default=60)
options = arguments.parse_args()
os.environ["BATON_BUILD"] = options.build
sys.path[:0] = [HERE, os.path.join(HERE, "..", "clients")]
import fleet as clients  # noqa: E402,F401  first: it finds the libraries

from baton_client import Client  # noqa: E402

import live  # noqa: E402

STORM = os.path.join(options.build, "tests", "http", "http_storm")
ROUNDS = 3
FLEET = ("oracle: { layers: 2, head_dim: 16, token_us: 1, row_us: 1, step_us: 20000 }\n"
         "kv: { blocks: 16384, transfers_max: 4096 }\n"
         "engine: { len_max: 4096, seqs_max: 4096, batch_max: 2048 }\n"
         "router: { queue_max: 4096, requests_max: 8192, prefill_depth: 64 }\n")


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Storm:
    def __init__(self):
        self.fleet = live.Fleet(FLEET)
        self.router = self.fleet.pid_of("r")
        self.client = Client(self.fleet.clients, agent="storm")

    def run(self, mode, n, much):
        host, port = self.fleet.address
        return subprocess.Popen([STORM, host, str(port), mode, str(n), str(much)],
                                stdout=subprocess.PIPE, text=True)

    def say(self, what, begin_cpu, n_tokens):
        used = cpu_s(self.router) - begin_cpu
        fds = len(os.listdir(f"/proc/{self.router}/fd"))
        print(f"  {what}: router {used:.2f} CPU s, {1e6 * used / max(n_tokens, 1):.1f} us a token, "
              f"{rss_mib(self.router):.1f} MiB, {fds} descriptors, "
              f"load {os.getloadavg()[0]:.1f}", flush=True)

    def calm(self):
        """Nothing is left of anybody."""
        end = time.monotonic() + 30
        while True:
            stats = self.client.stats()
            left = {name: int(stats[name]) for name in ("requests", "queued", "sequences")}
            used = int(stats["blocks"]) - int(stats["blocks_free"])
            if not any(left.values()) and used == 0:
                return
            assert time.monotonic() < end, f"left: {left}, {used} blocks"
            time.sleep(0.1)

    def streams(self, rounds=ROUNDS):
        hashes = set()
        for i in range(rounds):
            before = cpu_s(self.router)
            storm = self.run("streams", options.n, options.tokens)
            line = storm.communicate()[0].strip()
            print(f"  {line}")
            assert storm.returncode == 0
            hashes.add(line.split("hash=")[1].split()[0])
            self.say(f"round {i}", before, options.n * options.tokens)
        assert len(hashes) == 1, hashes
        self.calm()

    def hostile(self):
        stop = threading.Event()
        bodies = [json.dumps({"prompt": text, "max_tokens": 1}).encode() for text in
                  ("a" * (1 << 20), "\U0001f600" * (1 << 18), "[" * (1 << 20), " \n" * (1 << 19))]
        bodies.append(b"[" * (1 << 20))
        bodies.append(b'{"messages":[' + b'{"role":"user","content":"x"},' * 34000)
        said = []

        def annoy():
            while not stop.wait(1):
                with live.Raw(self.fleet.address) as raw:
                    raw.post("/v1/completions", bodies[len(said) % len(bodies)])
                    said.append(raw.answer().status)

        thread = threading.Thread(target=annoy)
        thread.start()
        self.streams()
        stop.set()
        thread.join()
        print(f"  hostile prompts were answered: {said}")

    def loris(self):
        loris = self.run("loris", 2000, 15)
        self.streams(2)
        print("  " + loris.communicate()[0].strip())
        self.calm()

    def leave(self):
        fds = len(os.listdir(f"/proc/{self.router}/fd"))
        before = cpu_s(self.router)
        leave = self.run("leave", min(options.n, 200), options.seconds)
        print("  " + leave.communicate()[0].strip())
        self.calm()
        self.say("after", before, 0)
        assert len(os.listdir(f"/proc/{self.router}/fd")) <= fds + 2

    def zmq(self):
        truth = None
        for i in range(ROUNDS):
            before = cpu_s(self.router)
            begin = time.monotonic()
            streams = [self.client.stream(f"stream {k}", seed=k, max_tokens=options.tokens,
                                          ignore_eos=True) for k in range(options.n)]
            ids = [stream.result(timeout=300).ids for stream in streams]
            print(f"  {sum(map(len, ids))} tokens in {time.monotonic() - begin:.2f} s")
            self.say(f"round {i}", before, options.n * options.tokens)
            truth = truth or ids
            assert ids == truth and all(len(one) == options.tokens for one in ids)
        self.calm()


def main():
    storm = Storm()
    try:
        for what in options.what:
            print(what, flush=True)
            getattr(storm, what)()
            with open(f"/proc/{storm.router}/status", encoding="ascii") as file:
                print("  " + [line for line in file if line.startswith("VmHWM")][0].strip())
    finally:
        storm.client.close()
        text = storm.fleet.log_text()
        code = storm.fleet.stop()
        if code != 0 or "Sanitizer" in text or sys.exc_info()[0]:
            code = code or 1
            print(text[-5000:])
    print(f"the fleet ended with {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
