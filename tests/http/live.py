"""A live fleet with an HTTP door for tests of it: real processes on free ports, and a client that
reads what a server really sends. Standard library only."""

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
ROOT = os.environ.get("BATON_ROOT", os.path.join(os.path.dirname(__file__), "..", ".."))
BATON = os.path.join(os.environ.get("BATON_BUILD", os.path.join(ROOT, "build")), "baton")
PATIENCE_S = 60.0
PR_SET_PDEATHSIG = 1

ORACLE = ("oracle: {{ layers: 2, head_dim: 16, step_us: {step_us} }}\n"
          "kv: {{ blocks: 64 }}\nengine: {{ len_max: 4096 }}\n")
DEMO = "model: demo\nkv: { blocks: 256 }\n"
NODES = ("nodes:\n- { name: r, role: router, clients: '127.0.0.1:0', http: '127.0.0.1:0' }\n"
         "- { name: p, role: prefill }\n- { name: d, role: decode }\n")


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Fleet:
    """`baton up`; `text` is the file of the fleet without its nodes."""

    def __init__(self, text, nodes=NODES):
        if not os.path.exists(BATON):
            print(f"skipped: there is no {BATON}")
            sys.exit(SKIPPED)
        self.folder = tempfile.mkdtemp(prefix="baton-test-")
        env = dict(os.environ, TMPDIR=self.folder)
        env.pop("XDG_RUNTIME_DIR", None)
        file = os.path.join(self.folder, "fleet.yaml")
        with open(file, "w", encoding="ascii") as out:
            out.write(text + nodes)
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [BATON, "up", file], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.log, preexec_fn=_die_with_parent)
        self.said = b""
        self.clients = self._await(b"ready clients=")
        url = self._await(b"OpenAI's API:")
        self.url = url.strip()
        host, port = self.url.split("//")[1].split("/")[0].rsplit(":", 1)
        self.address = (host, int(port))

    def _await(self, start):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for line in self.said.split(b"\n")[:-1]:
                if line.startswith(start):
                    return line[len(start):].decode()
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                more = os.read(self.process.stdout.fileno(), 4096)
                if not more:
                    break
                self.said += more
        why = f"the fleet never said {start!r}: {self.said!r}\n{self.log_text()[-4000:]}"
        self.stop()
        raise AssertionError(why)

    def log_text(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return log.read()

    def pid_of(self, node):
        """Of the node's process, a child of `up`."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="ascii") as file:
            for pid in file.read().split():
                with open(f"/proc/{pid}/cmdline", "rb") as line:
                    if node.encode() in line.read().split(b"\0"):
                        return int(pid)
        raise AssertionError(f"no process of node {node}")

    def stop(self):
        """Its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)
        return self.process.returncode


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        """Of a stream: each event's object, and "[DONE]"."""
        events = []
        for part in self.body.decode().split("\n\n"):
            if part:
                assert part.startswith("data: "), part
                events.append(part[6:] if part == "data: [DONE]" else json.loads(part[6:]))
        return events


class Raw:
    """One connection, byte for byte."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.left = b""

    def send(self, data):
        self.socket.sendall(data)

    def post(self, path, body, headers=""):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{headers}"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def get(self, path, method="GET", headers=""):
        self.send(f"{method} {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode())

    def more(self):
        data = self.socket.recv(65536)
        self.left += data
        return data

    def until(self, mark):
        """What comes up to and with the mark."""
        while mark not in self.left:
            if not self.more():
                raise EOFError(self.left)
        found, self.left = self.left.split(mark, 1)
        return found + mark

    def _take(self, n):
        while len(self.left) < n:
            if not self.more():
                raise EOFError(self.left)
        found, self.left = self.left[:n], self.left[n:]
        return found

    def _chunks(self):
        body = b""
        while size := int(self.until(b"\r\n"), 16):
            body += self._take(size)
            assert self._take(2) == b"\r\n"
        assert self._take(2) == b"\r\n"
        return body

    def head(self):
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    def answer(self, method="POST"):
        status, headers = self.head()
        if method == "HEAD":
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        else:
            body = self._take(int(headers["content-length"]))
        return Answer(status, headers, body)

    def closed(self):
        """Whether nothing but the end comes."""
        try:
            return not self.left and not self.more()
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
