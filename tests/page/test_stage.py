"""The page before a stage: a small server plays the router, so that what a fleet seldom does can be
shown: a key, hostile names, a lost node, an answer that breaks off."""

import http.server
import json
import os
import threading

from browser import ROOT, Browser, Keys, run_tests

FILES = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"),
         "/page.js": ("page.js", "text/javascript"), "/chat.js": ("chat.js", "text/javascript")}
HOSTILE = "<img src=x onerror=\"window.wrong=1\"><script>window.wrong=1</script>"
KEY = "right key"
COUNTS = """nodes nodes_ready pairs blocks blocks_free sequences requests queued admitted refused
done failed cancelled tokens resubmitted rereserved""".split()


def ended(number, **more):
    one = {"number": number, "id": f"{number:032x}", "age_us": 1000000, "ok": True,
           "status": "DONE", "end": "stop", "prompt_tokens": 10, "emitted_tokens": 5, "attempts": 1,
           "router_queue_us": 1000, "prefill_queue_us": 0, "prefill_us": 4000, "transfer_us": 3000,
           "transfer_bytes": 1 << 20, "decode_queue_us": 100, "first_step_us": 400,
           "decode_us": 2500, "first_token_us": 6000, "total_us": 10000, "path": "network",
           "prefill_node": "p", "decode_node": HOSTILE}
    return {**one, **more}


class Stage:
    """What the server says; a test changes it."""

    def __init__(self):
        self.key = None
        self.asked = []
        self.stream = b""
        self.fleet = {
            "model": HOSTILE, "version": HOSTILE, "numerics": HOSTILE, "ready": True,
            "draining": False, "len_max": 100, "requests_max": 10, "queue_max": 10,
            "counts": {name: 1 for name in COUNTS},
            "nodes": [{"name": name, "role": role, "host": "h", "ready": True, "heard_us": 1,
                       "blocks": 100, "blocks_free": 25, "sequences": 1, "sequences_max": 8,
                       "requests": 1, "computing": 0, "len_max": 100}
                      for name, role in (("p", "prefill"), (HOSTILE, "decode"))],
            "pairs": [[0, 1]],
            "paths": [{"from": "p", "to": HOSTILE, "path": HOSTILE, "age_us": 1, "transfers": 2,
                       "bytes": 2 << 20, "us": 2000, "last_bytes": 1 << 20, "last_us": 1000}],
            "events": [{"number": 1, "age_us": 5000000, "what": "lost", "node": "gone" + HOSTILE,
                        "role": "decode", "why": HOSTILE, "gone": True}],
            "running": [], "last": 2,
            "ended": [ended(1), ended(2, ok=False, status=HOSTILE, decode_us=0)]}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handler(self):
        stage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def say(self, code, kind, body):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", "default-src 'self'; img-src data:")
                self.end_headers()
                self.wfile.write(body)

            def refused(self):
                if stage.key is None or \
                        self.headers["Authorization"] == "Bearer " + stage.key:
                    return False
                self.say(401, "application/json", b'{"error":{"message":"a wrong key"}}')
                return True

            def do_GET(self):
                path, _, query = self.path.partition("?")
                if path in FILES:
                    name, kind = FILES[path]
                    with open(os.path.join(ROOT, "router", "page", name), "rb") as file:
                        self.say(200, kind + "; charset=utf-8", file.read())
                elif path == "/fleet.json" and not self.refused():
                    stage.asked.append(query)
                    since = int(query.removeprefix("since="))
                    fleet = dict(stage.fleet, ended=[one for one in stage.fleet["ended"]
                                                     if one["number"] > since])
                    self.say(200, "application/json", json.dumps(fleet).encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stage.posted = (self.path, json.loads(body))
                if not self.refused():
                    self.say(200, "text/event-stream", stage.stream)

        return Handler

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def event(text):
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


# --- the tests -----------------------------------------------------------------------------------


def key_is_asked_for(browser, stage):
    stage.key = KEY
    browser.open(stage.url + "/")
    browser.wait("the question for the key",
                 lambda: browser.run("return document.getElementById('key-dialog').open"))
    browser.find("key").send_keys("a wrong one" + Keys.ENTER)
    browser.wait("the question to come again", lambda: "does not know" in browser.text("key-why")
                 and browser.run("return document.getElementById('key-dialog').open"))
    browser.find("key").send_keys(KEY + Keys.ENTER)
    browser.wait("the fleet", lambda: browser.text("health") == "Ready")
    assert browser.run("return sessionStorage.length") == 1
    assert browser.run("return localStorage.length") == 0
    browser.driver.refresh()
    browser.wait("the fleet, without a question", lambda: browser.text("health") == "Ready")
    stage.key = None


def hostile_names_are_text(browser, stage):
    browser.wait("the rows", lambda: browser.run(
        "return document.querySelectorAll('#requests button').length") == 2)
    browser.run("document.querySelector('#requests button').click()")
    assert HOSTILE in browser.text("model")
    for place in ("nodes", "paths", "events", "requests", "details"):
        assert HOSTILE.lower() in browser.text(place).lower(), place
    assert browser.run("return document.querySelectorAll('img, main script').length") == 0
    assert browser.run("return window.wrong") is None


def lost_node_is_marked(browser, stage):
    lost = browser.run("return [...document.querySelectorAll('#nodes .is-bad')]"
                       ".map(li => li.querySelector('.state').textContent)")
    assert lost == ["lost"], lost


def waterfall_is_in_place(browser, stage):
    """In the upper lane one phase begins where the other ends; the lower one ends at the end."""
    bars = browser.run(
        "return [...document.querySelectorAll('#requests li:last-child .fall i')].map(i => "
        "[i.className, Math.round(parseFloat(i.style.left)), "
        "Math.round(parseFloat(i.style.width) || 0)])")
    assert bars == [["top k-router_queue", 0, 10], ["top k-prefill", 10, 40],
                    ["low k-decode", 71, 29], ["low k-decode_queue", 70, 1],
                    ["low k-transfer", 40, 30], ["mark", 60, 0]], bars


def only_news_are_asked_for(browser, stage):
    stage.asked.clear()
    browser.wait("another question", lambda: len(stage.asked) > 1)
    assert stage.asked[-1] == "since=2", stage.asked
    stage.fleet = dict(stage.fleet, last=3, ended=stage.fleet["ended"] + [ended(3)])
    browser.wait("the new one", lambda: browser.run(
        "return document.querySelectorAll('#requests button').length") == 3)


def earlier_try_is_told(browser, stage):
    """The ledger is of the last try; the page must not leave out the time of those before."""
    stage.fleet = dict(stage.fleet, last=4, ended=stage.fleet["ended"] +
                       [ended(4, attempts=2, first_token_us=2000, router_queue_us=0,
                              prefill_us=1000)])
    place = browser.wait("the earlier try", lambda: browser.run(
        "const i = document.querySelector('#requests .fall .k-earlier');"
        "return i && [i.style.left, i.style.width]"))
    assert place == ["20%", "20%"], place


def nothing_jumps(browser, stage):
    """From an empty page to a full one: what the browser itself counts as moved."""
    browser.open(stage.url + "/")
    browser.wait("the fleet", lambda: browser.text("health") == "Ready")
    browser.run("window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach("
                "e => window.moved += e.value)).observe({type: 'layout-shift', buffered: true})")
    stage.asked.clear()
    browser.wait("two more questions", lambda: len(stage.asked) > 2)
    assert browser.run("return window.moved") < 0.05, browser.run("return window.moved")


def answer_that_breaks_off(browser, stage):
    stage.stream = event("half an ") + event(HOSTILE)
    browser.run("document.getElementById('system').value = 'be brief'")
    browser.find("message").send_keys("well?" + Keys.ENTER)
    said = browser.wait("the error", lambda: browser.run(
        "const e = document.querySelector('#log .error'); return e && e.textContent"))
    assert "broke off" in said, said
    assert browser.run("return document.querySelector('#log .assistant').textContent") \
        == "half an " + HOSTILE
    path, body = stage.posted
    assert path == "/v1/chat/completions" and body["stream"] is True
    assert body["messages"] == [{"role": "system", "content": "be brief"},
                                {"role": "user", "content": "well?"}], body


def error_in_mid_stream(browser, stage):
    stage.stream = event("a") + b'data: {"error":{"message":"the node was lost"}}\n\n'
    browser.find("clear").click()
    browser.find("message").send_keys("again" + Keys.ENTER)
    said = browser.wait("the error", lambda: browser.run(
        "const e = document.querySelector('#log .error'); return e && e.textContent"))
    assert said == "the node was lost", said


def text_is_continued(browser, stage):
    stage.stream = (b'data: {"choices":[{"index":0,"text":" upon a time"}]}\n\n'
                    b"data: [DONE]\n\n")
    browser.find("clear").click()
    browser.run("document.getElementById('mode').value = 'text'")
    browser.find("message").send_keys("once" + Keys.ENTER)
    browser.wait("the text", lambda: browser.run(
        "const e = document.querySelector('#log .assistant'); return e && e.textContent")
        == " upon a time")
    assert stage.posted[0] == "/v1/completions" and stage.posted[1]["prompt"] == "once"


def nothing_went_wrong(browser, stage):
    wrong = [line for line in browser.console() if "401 (Unauthorized)" not in line]
    assert not wrong, wrong
    assert browser.run("return window.wrong") is None


def main():
    browser = Browser()
    stage = Stage()
    try:
        run_tests([key_is_asked_for, hostile_names_are_text, lost_node_is_marked,
                   waterfall_is_in_place, only_news_are_asked_for, earlier_try_is_told,
                   nothing_jumps,
                   answer_that_breaks_off, error_in_mid_stream, text_is_continued,
                   nothing_went_wrong], browser, stage)
    finally:
        browser.close()
        stage.close()


if __name__ == "__main__":
    main()
