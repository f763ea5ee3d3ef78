"""The page of a live fleet: it shows the nodes and what they do, its chat streams and stops, and a
node that is killed is seen to go and to come back."""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

from browser import BATON, PATIENCE_S, Browser, Keys, run_tests, skip

PR_SET_PDEATHSIG = 1
FLEET = """
oracle: { layers: 2, head_dim: 16, step_us: 10000 }
kv: { blocks: 256 }
engine: { len_max: 4096 }
nodes:
- { name: router, role: router, clients: '127.0.0.1:0', http: '127.0.0.1:0' }
- { name: prefill, role: prefill }
- { name: decode1, role: decode }
- { name: decode2, role: decode }
"""


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Fleet:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="baton-test-")
        env = dict(os.environ, TMPDIR=self.folder)
        env.pop("XDG_RUNTIME_DIR", None)
        file = os.path.join(self.folder, "fleet.yaml")
        with open(file, "w", encoding="ascii") as out:
            out.write(FLEET)
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [BATON, "up", file], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.log, preexec_fn=die_with_parent)
        self.url = self._await_url()

    def _await_url(self):
        end, text = time.monotonic() + PATIENCE_S, ""
        while time.monotonic() < end:
            if not select.select([self.process.stdout], [], [], 0.1)[0]:
                continue
            more = os.read(self.process.stdout.fileno(), 4096).decode()
            text += more
            for line in text.split("\n")[:-1]:
                if line.startswith("OpenAI's API:"):
                    return line.split()[-1].removesuffix("/v1")
            if not more:
                break
        self.stop()
        raise AssertionError(f"the fleet did not get ready: {text!r}")

    def pid_of(self, name):
        """The process of the node: a child of `up` whose command line names it."""
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/children", encoding="ascii") as children:
                pids = children.read().split()
            for pid in pids:
                with open(f"/proc/{pid}/cmdline", "rb") as line:
                    if name.encode() in line.read().split(b"\0"):
                        return int(pid)
        raise AssertionError(f"no process of node {name}")

    def counts(self):
        with urllib.request.urlopen(self.url + "/fleet.json", timeout=10) as answer:
            return json.load(answer)["counts"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=PATIENCE_S)
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)


# --- what the page is like -----------------------------------------------------------------------


def shows_the_fleet(browser, fleet):
    browser.open(fleet.url + "/")
    browser.wait("the fleet to be ready", lambda: browser.text("health") == "Ready")
    assert browser.text("model") == "oracle"
    cards = browser.run("return [...document.querySelectorAll('#nodes li')]"
                        ".map(li => [li.querySelector('.who').textContent, li.className])")
    assert cards == [[name, "is-good"] for name in ("prefill", "decode1", "decode2")], cards
    paths = browser.wait("both pairs", lambda: browser.run(
        "const rows = [...document.querySelectorAll('#paths tr')];"
        "return rows.length == 2 && rows.map(tr => tr.cells[0].textContent)"))
    assert paths == ["prefill → decode1", "prefill → decode2"], paths


PAINTED = """
const canvas = document.getElementById(arguments[0]);
const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return new Set(new Uint32Array(data.buffer)).size;
"""


def is_not_blank(browser, fleet):
    for plot in ("p-first", "p-gap", "p-speed"):
        assert browser.run(PAINTED, plot) > 3, f"{plot} is blank"
    for width in (1280, 800, 360):
        browser.look_at(width, 900, dark=width == 800)
        over = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert over <= 0, f"at {width} px the page is {over} px too wide"
    browser.look_at(1280, 900)


def answers_as_a_page_should(browser, fleet):
    """Strict about what it loads, and open only where it says nothing of the fleet."""
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"),
                       ("/page.js", "text/javascript"), ("/chat.js", "text/javascript")):
        with urllib.request.urlopen(fleet.url + path, timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith(kind)
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert b"http://" not in answer.read().replace(b"http://www.w3.org", b"")


# --- the chat ------------------------------------------------------------------------------------

WATCH = """
window.lengths = [];
new MutationObserver(() => {
  const all = document.querySelectorAll("#log .assistant");
  if (all.length) window.lengths.push(all[all.length - 1].textContent.length);
}).observe(document.getElementById("log"), { childList: true, subtree: true });
"""
ANSWER = "const all = document.querySelectorAll('#log .assistant');" \
    "return all.length ? all[all.length - 1].textContent : ''"


# The oracle says an end now and then; here an answer is as long as it is asked for.
ENDLESS = """
const send = window.fetch;
window.fetch = (url, options) => send(url, options.body ? { ...options,
  body: JSON.stringify({ ...JSON.parse(options.body), ignore_eos: true }) } : options);
"""


def ask(browser, message, max_tokens):
    browser.run("document.getElementById('settings').open = true;"
                "document.getElementById('max-tokens').value = arguments[0]", max_tokens)
    browser.find("message").send_keys(message + Keys.ENTER)


def chat_streams(browser, fleet):
    browser.run(WATCH)
    browser.run(ENDLESS)
    ask(browser, "<img src=x onerror='window.wrong=1'>", 40)
    browser.wait("the end of the answer", lambda: "end: " in browser.text("speed"))
    speed = browser.text("speed")
    assert "first token" in speed and "40 tokens" in speed and "tokens/s" in speed, speed
    lengths = browser.run("return window.lengths")
    steps = len(set(lengths))
    assert steps > 5 and lengths == sorted(lengths), f"text came in {steps} steps"
    asked = browser.run("return document.querySelector('#log .user').textContent")
    assert asked == "<img src=x onerror='window.wrong=1'>"
    assert browser.run("return document.querySelectorAll('#log img').length") == 0


def same_seed_same_answer(browser, fleet):
    first = browser.run(ANSWER)
    seed = browser.find("speed").get_attribute("title").split()[1].rstrip(":")
    browser.find("clear").click()
    browser.run("document.getElementById('seed').value = arguments[0]", seed)
    ask(browser, "<img src=x onerror='window.wrong=1'>", 40)
    browser.wait("the end of the answer", lambda: "end: " in browser.text("speed"))
    assert browser.run(ANSWER) == first
    browser.run("document.getElementById('seed').value = ''")


def escape_stops(browser, fleet):
    before = fleet.counts()["cancelled"]
    ask(browser, "go on and on", 3000)
    browser.wait("some text", lambda: len(browser.run(ANSWER)) > 3)
    browser.find("message").send_keys(Keys.ESCAPE)
    browser.wait("the stop", lambda: browser.text("speed").endswith("stopped"))
    browser.wait("the router to let go", lambda: fleet.counts()["cancelled"] == before + 1)
    assert browser.find("send").is_enabled() and not browser.find("stop").is_enabled()


def mistakes_are_told(browser, fleet):
    ask(browser, "too much", 1000000)
    said = browser.wait("an error", lambda: browser.run(
        "const e = document.querySelector('#log .error'); return e && e.textContent"))
    assert "longest sequence" in said, said
    browser.find("clear").click()
    assert browser.run("return document.getElementById('log').children.length") == 0


# --- requests, and nodes that die ----------------------------------------------------------------


def requests_by_keyboard(browser, fleet):
    """Both ended ones are listed, and Enter opens a ledger."""
    browser.wait("the ended requests", lambda: browser.run(
        "return document.querySelectorAll('#requests .fall .k-decode').length") >= 2)
    browser.run("document.querySelector('#requests li:last-child button').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    details = browser.text("details")
    for word in ("Prefill", "Transfer", "shared memory", "Decode node", "40 tokens"):
        assert word in details, details


NODE = "return [...document.querySelectorAll('#nodes li')].filter(li => " \
    "li.querySelector('.who').textContent === arguments[0])" \
    ".map(li => li.className + ' ' + li.querySelector('.state').textContent)[0]"


def killed_node_goes_and_returns(browser, fleet):
    first = fleet.pid_of("decode2")
    os.kill(first, signal.SIGKILL)
    lost = browser.wait("decode2 to be shown as lost", lambda: browser.run(
        "return [...document.querySelectorAll('#events .bad')].map(e => e.textContent)[0]"))
    assert lost.startswith("decode2 (decode) was lost"), lost
    browser.wait("decode2 to come back",
                 lambda: browser.run(NODE, "decode2") == "is-good ready")
    assert fleet.pid_of("decode2") != first


def stopped_router_is_told(browser, fleet):
    pid = fleet.pid_of("router")
    os.kill(pid, signal.SIGSTOP)
    try:
        browser.wait("the silence to be told",
                     lambda: browser.text("health") == "No answer from the router")
    finally:
        os.kill(pid, signal.SIGCONT)
    browser.wait("the fleet to be ready again", lambda: browser.text("health") == "Ready")


def nothing_went_wrong(browser, fleet):
    assert browser.run("return window.wrong") is None
    expected = ("400 (Bad Request)",)
    wrong = [line for line in browser.console() if not any(e in line for e in expected)]
    assert not wrong, wrong


def main():
    if not os.path.exists(BATON):
        skip(f"there is no {BATON}")
    browser = Browser()
    fleet = None
    try:
        fleet = Fleet()
        run_tests([shows_the_fleet, is_not_blank, answers_as_a_page_should, chat_streams,
                   same_seed_same_answer, escape_stops, mistakes_are_told, requests_by_keyboard,
                   killed_node_goes_and_returns, stopped_router_is_told, nothing_went_wrong],
                  browser, fleet)
    finally:
        if fleet:
            fleet.stop()
        browser.close()


if __name__ == "__main__":
    main()
