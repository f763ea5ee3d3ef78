"""A live fleet for a test of the Python client: real processes on a free port, ended by their id.

Imported first, it also finds an interpreter that has pyzmq and msgpack: the one that runs, else the
distribution's, else the test is skipped (77)."""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SKIPPED = 77
ROOT = os.environ.get("BATON_ROOT", os.path.join(os.path.dirname(__file__), "..", ".."))
BATON = os.path.join(os.environ.get("BATON_BUILD", os.path.join(ROOT, "build")), "baton")
DEBIAN = "/usr/bin/python3"
PATIENCE_S = 60.0
PR_SET_PDEATHSIG = 1

MODEL = ("oracle: { layers: 2, head_dim: 16 }\nkv: { blocks: 64 }\n"
         "engine: { len_max: 4096 }\n")
NODES = ("nodes:\n- { name: r, role: router, clients: '127.0.0.1:0' }\n"
         "- { name: p, role: prefill }\n- { name: d, role: decode }\n")


def _find_libraries():
    try:
        import msgpack  # noqa: F401
        import zmq  # noqa: F401
    except ImportError:
        if os.path.exists(DEBIAN) and not os.environ.get("CLIENT_TEST_PYTHON"):
            os.environ["CLIENT_TEST_PYTHON"] = "looked for"
            os.execv(DEBIAN, [DEBIAN, "-B", *sys.argv])
        print("skipped: no pyzmq or msgpack: apt-get install python3-zmq python3-msgpack")
        sys.exit(SKIPPED)


_find_libraries()
sys.path.insert(0, os.path.join(ROOT, "clients", "python"))


def need_baton():
    if not os.path.exists(BATON):
        print(f"skipped: there is no {BATON}")
        sys.exit(SKIPPED)


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Fleet:
    """`baton up` with MODEL and NODES; `keys` makes and uses CURVE keys."""

    def __init__(self, keys=False):
        self.folder = tempfile.mkdtemp(prefix="baton-test-")
        self.env = dict(os.environ, TMPDIR=self.folder)
        self.env.pop("XDG_RUNTIME_DIR", None)
        self.keys = os.path.join(self.folder, "keys")
        file = os.path.join(self.folder, "fleet.yaml")
        with open(file, "w", encoding="ascii") as out:
            out.write(MODEL + ("security: { keys: keys }\n" if keys else "") + NODES)
        if keys:
            subprocess.run([BATON, "keygen", file], env=self.env, check=True,
                           stdout=subprocess.DEVNULL)
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [BATON, "up", file], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.log, preexec_fn=_die_with_parent)
        self.endpoint = self._await_ready()

    def _await_ready(self):
        end, text = time.monotonic() + PATIENCE_S, b""
        while time.monotonic() < end:
            if not select.select([self.process.stdout], [], [], 0.1)[0]:
                continue
            more = os.read(self.process.stdout.fileno(), 4096)
            text += more
            for line in text.split(b"\n")[:-1]:
                if line.startswith(b"ready clients="):
                    return line[len(b"ready clients="):].decode()
            if not more:
                break
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            why = f"the fleet did not get ready: {text!r}\n{log.read()[-4000:]}"
        self.stop()
        raise AssertionError(why)

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


class Proxy:
    """A TCP way to the endpoint that can be cut."""

    def __init__(self, endpoint):
        host, port = endpoint.split("://")[-1].rsplit(":", 1)
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.ends = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            with self.lock:
                self.ends += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(a, b), daemon=True).start()

    @staticmethod
    def _pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def cut(self):
        """Every connection; new ones are let through."""
        with self.lock:
            ends, self.ends = self.ends, []
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        self.cut()
