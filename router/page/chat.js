/* The chat: one request of OpenAI's API at a time, its events read as they come. The conversation
 * is in this page only. Uses page.js. */
"use strict";

const chat = {
  messages: [], /* {role, content} */
  stopper: null, /* of the answer that comes now */
};

/* Calls take(data) for each event of the stream. */
async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const text of lines) {
      if (text.startsWith("data:")) take(text.slice(5).trim());
    }
  }
}

function sayInLog(className, text) {
  const div = make("div", className, text);
  const log = $("log");
  log.append(div);
  log.scrollTop = log.scrollHeight;
  return div;
}

/* New text at the end of the answer; the log follows unless its reader has scrolled up. */
function addText(div, text) {
  const log = $("log");
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  div.append(text);
  if (follows) log.scrollTop = log.scrollHeight;
}

function request(message) {
  const common = { stream: true, stream_options: { include_usage: true } };
  const most = Number($("max-tokens").value), temperature = Number($("temperature").value);
  if (most > 0) common.max_tokens = most;
  if ($("temperature").value !== "") common.temperature = temperature;
  if ($("seed").value !== "") common.seed = Number($("seed").value);
  if ($("mode").value === "text") return ["v1/completions", { ...common, prompt: message }];
  const system = $("system").value.trim();
  const before = system ? [{ role: "system", content: system }] : [];
  return ["v1/chat/completions", { ...common, messages: [...before, ...chat.messages] }];
}

/* How it goes: counted in events until the router tells the tokens. */
function showSpeed(run) {
  const parts = [];
  const tokens = run.usage ? run.usage.completion_tokens : run.n;
  const seconds = (run.lastAt - run.firstAt) / 1000;
  if (run.firstAt) parts.push("first token " + time(1000 * (run.firstAt - run.startAt)));
  parts.push(tokens + (tokens === 1 ? " token" : " tokens"));
  if (tokens > 1 && seconds > 0) parts.push(three((tokens - 1) / seconds) + " tokens/s");
  if (run.end) parts.push(run.end);
  put($("speed"), parts.join(" · "));
  $("speed").title = run.seed === null ? "" : "seed " + run.seed +
    ": with the same question and settings it gives the same answer";
}

function takeEvent(run, data) {
  if (data === "[DONE]") {
    run.complete = true;
    return;
  }
  const event = JSON.parse(data);
  if (event.error) throw new Error(event.error.message);
  if (event.usage) run.usage = event.usage;
  if (event.seed !== undefined) run.seed = event.seed;
  const choice = event.choices && event.choices[0];
  if (!choice) return;
  const text = choice.delta ? choice.delta.content : choice.text;
  if (choice.finish_reason) run.end = "end: " + choice.finish_reason;
  if (typeof text !== "string") return;
  run.lastAt = performance.now();
  run.firstAt = run.firstAt || run.lastAt;
  run.n++;
  run.text += text;
  addText(run.div, text);
  showSpeed(run);
}

/* What the router says of a request that it does not take. */
async function refusal(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return "the router answers " + answer.status;
  }
}

async function stream(run, message) {
  const [path, body] = request(message);
  const answer = await fetch(path, {
    method: "POST", signal: chat.stopper.signal, cache: "no-store",
    headers: { "Content-Type": "application/json", ...headers() }, body: JSON.stringify(body) });
  if (answer.status === 401) askKey(false);
  if (!answer.ok) throw new Error(await refusal(answer));
  await readEvents(answer.body, (data) => takeEvent(run, data));
  if (!run.complete) throw new Error("the answer broke off: the connection was lost");
}

function busy(is) {
  $("send").disabled = is;
  $("stop").disabled = !is;
  $("log").setAttribute("aria-busy", String(is));
}

async function send() {
  const message = $("message").value;
  if (message.trim() === "" || chat.stopper) return;
  chat.messages.push({ role: "user", content: message });
  sayInLog("user", message);
  $("message").value = "";
  const run = { div: sayInLog("assistant", ""), text: "", n: 0, startAt: performance.now(),
    firstAt: 0, lastAt: 0, usage: null, seed: null, end: "", complete: false };
  put($("speed"), "waiting for the first token");
  chat.stopper = new AbortController();
  busy(true);
  try {
    await stream(run, message);
  } catch (error) {
    if (error.name === "AbortError") run.end = "stopped";
    else sayInLog("error", error instanceof TypeError ? "The router does not answer." :
      error.message);
  }
  showSpeed(run);
  /* A question without any answer is not part of the conversation. */
  if (run.text) chat.messages.push({ role: "assistant", content: run.text });
  else chat.messages.pop();
  if (!run.text && !run.complete) run.div.remove();
  chat.stopper = null;
  busy(false);
}

function stop() {
  if (chat.stopper) chat.stopper.abort();
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
$("stop").addEventListener("click", stop);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("key-dialog").open) stop();
});
$("clear").addEventListener("click", () => {
  stop();
  chat.messages = [];
  $("log").replaceChildren();
  put($("speed"), "\u00a0");
  $("message").focus();
});
