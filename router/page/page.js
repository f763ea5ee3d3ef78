/* The fleet's page: asks for fleet.json once a second and shows it, and a chat that streams.
 * Whatever comes from outside goes in as text, never as markup. Nothing is kept but the API key,
 * in this tab's session. */
"use strict";

const POLL_MS = 1000;
const POLL_HIDDEN_MS = 5000;
const ANSWER_MS = 5000; /* an answer later than this is none */
const WINDOW_MS = 300000; /* of the plots */
const NOW_MS = 60000; /* of the percentiles in words */
const SLIDE_MS = 30000; /* of each point of a percentile's line */
const SAMPLES_MAX = 5000;
const ROWS_MAX = 100;
const KEY = "baton-key";

const $ = (id) => document.getElementById(id);

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/* Writes only what differs: no work and no announcement where nothing has changed. */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/* ---- numbers as people read them ---- */

function count(n) {
  if (n < 10000) return String(n);
  if (n < 1e6) return (n / 1e3).toFixed(1) + " k";
  if (n < 1e9) return (n / 1e6).toFixed(1) + " M";
  return (n / 1e9).toFixed(1) + " G";
}

function three(x) {
  return x >= 99.95 ? x.toFixed(0) : x >= 9.995 ? x.toFixed(1) : x.toFixed(2);
}

function bytes(n) {
  if (n < 1024) return n.toFixed(0) + " B";
  if (n < 1024 ** 2) return three(n / 1024) + " KiB";
  if (n < 1024 ** 3) return three(n / 1024 ** 2) + " MiB";
  return three(n / 1024 ** 3) + " GiB";
}

function time(us) {
  if (us < 1000) return us.toFixed(0) + " µs";
  if (us < 1e6) return three(us / 1e3) + " ms";
  if (us < 6e7) return three(us / 1e6) + " s";
  return Math.floor(us / 6e7) + " min " + Math.floor((us / 1e6) % 60) + " s";
}

function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + " s ago";
  return s < 3600 ? Math.floor(s / 60) + " min ago" : Math.floor(s / 3600) + " h ago";
}

function rate(n, us) {
  return us > 0 ? three(n / us / 1000) + " GB/s" : "–";
}

function percentile(sorted, p) {
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))];
}

/* ---- the key ---- */

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: "Bearer " + key } : {};
}

let keyRefused = false; /* "Not now" was said: no more asking by itself */

function askKey(byItself) {
  $("key-open").hidden = false;
  if (byItself && keyRefused) return;
  if (sessionStorage.getItem(KEY)) put($("key-why"), "The router does not know this key.");
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

function initKey() {
  const dialog = $("key-dialog");
  $("key-open").addEventListener("click", () => askKey(false));
  dialog.addEventListener("close", () => {
    keyRefused = dialog.returnValue !== "use";
    if (!keyRefused) {
      const key = $("key").value.trim();
      if (key) sessionStorage.setItem(KEY, key);
      else sessionStorage.removeItem(KEY);
      poll();
    }
    $("key").value = "";
    dialog.returnValue = "";
  });
}

/* ---- what the page knows ---- */

const known = {
  last: 0, /* number of the newest ended request that was seen */
  ended: [], /* newest first, at most ROWS_MAX */
  samples: [], /* {at, first, gap} in ms, oldest first */
  speeds: [], /* {at, value}: tokens a second */
  before: null, /* the answer before this one, for rates */
  beforeAt: 0,
};

function remember(fleet, now) {
  if (fleet.last < known.last) { /* another router, or a new start */
    known.ended = [];
    known.before = null;
  }
  for (const one of fleet.ended) {
    if (one.number <= known.last && fleet.last >= known.last) continue;
    one.at = now - one.age_us / 1000;
    known.ended.unshift(one);
    if (!one.first_token_us) continue;
    const gaps = one.emitted_tokens - 1;
    known.samples.push({
      at: one.at,
      first: one.first_token_us / 1000,
      gap: gaps > 0 ? (one.total_us - one.first_token_us) / 1000 / gaps : null,
    });
  }
  known.last = fleet.last;
  known.ended.length = Math.min(known.ended.length, ROWS_MAX);
  known.samples = known.samples.filter((s) => s.at > now - WINDOW_MS).slice(-SAMPLES_MAX);
  known.speeds = known.speeds.filter((s) => s.at > now - WINDOW_MS);
}

/* What grew since the last answer, a second. */
function grown(fleet, now, read) {
  if (!known.before || now <= known.beforeAt) return 0;
  return Math.max(0, (read(fleet) - read(known.before)) / (now - known.beforeAt)) * 1000;
}

const moved = (fleet) => fleet.paths.reduce((sum, path) => sum + path.bytes, 0);

/* ---- head and tiles ---- */

function showHealth(text, kind) {
  put($("health"), text);
  $("health").className = "pill " + kind;
}

function showTiles(fleet, now) {
  const c = fleet.counts;
  const running = c.requests - c.queued;
  const used = c.blocks - c.blocks_free;
  const speed = grown(fleet, now, (f) => f.counts.tokens);
  if (known.before) known.speeds.push({ at: now, value: speed });
  put($("t-running"), count(Math.max(0, running)));
  put($("t-requests"), count(c.done) + " done");
  put($("t-queued"), count(c.queued));
  put($("t-queue-max"), "room for " + count(fleet.queue_max));
  put($("t-tokens"), three(speed) + "/s");
  put($("t-tokens-all"), count(c.tokens) + " in all");
  put($("t-kv"), c.blocks ? ((100 * used) / c.blocks).toFixed(1) + " %" : "–");
  put($("t-kv-blocks"), count(used) + " of " + count(c.blocks));
  put($("t-moved"), bytes(grown(fleet, now, moved)) + "/s");
  put($("t-moved-all"), bytes(moved(fleet)) + " in all");
  put($("t-failed"), count(c.failed) + ", " + count(c.refused));
  put($("t-again"), count(c.cancelled) + " cancelled");
  $("t-again").title = count(c.resubmitted + c.rereserved) + " times placed anew";
}

/* ---- nodes ---- */

const nodeCards = new Map();

function nodeCard(name) {
  let card = nodeCards.get(name);
  if (card) return card;
  const li = make("li");
  const head = make("div", "head");
  card = { li, who: make("span", "who", name), state: make("span", "state"),
    role: make("p", "role"), kv: make("div", "kv"), fill: make("i"),
    blocks: make("p", "line"), load: make("p", "line") };
  card.who.title = name;
  card.kv.setAttribute("role", "img");
  card.kv.append(card.fill);
  head.append(card.who, card.state);
  li.append(head, card.role, card.kv, card.blocks, card.load);
  nodeCards.set(name, card);
  return card;
}

function showState(card, text, kind) {
  put(card.state, text);
  card.state.className = "state " + kind;
  card.li.className = "is-" + kind;
}

function showNode(card, node) {
  const used = node.blocks - node.blocks_free;
  const late = node.heard_us > 1000000;
  if (late) showState(card, "silent for " + time(node.heard_us), "warn");
  else if (node.ready) showState(card, "ready", "good");
  else showState(card, "not ready", "warn");
  put(card.role, node.role + (node.host ? " on machine " + node.host.slice(0, 8) : ""));
  card.role.title = node.host;
  card.fill.style.width = (node.blocks ? (100 * used) / node.blocks : 0) + "%";
  card.kv.setAttribute("aria-label", "KV: " + used + " of " + node.blocks + " blocks in use");
  put(card.blocks, "KV " + count(used) + " of " + count(node.blocks) + " blocks, " +
    count(node.blocks_free) + " free");
  put(card.load, node.sequences + " of " + count(node.sequences_max) + " sequences, " +
    node.requests + (node.requests === 1 ? " request" : " requests"));
}

function showLost(card, event) {
  showState(card, "lost", "bad");
  put(card.role, event.role);
  card.fill.style.width = "0";
  card.kv.setAttribute("aria-label", "KV: unknown");
  put(card.blocks, "lost " + ago(event.age_us / 1000));
  put(card.load, event.why);
}

function showNodes(fleet) {
  const lost = fleet.events.filter((event) => event.gone);
  const names = [...fleet.nodes, ...lost.map((event) => ({ name: event.node, role: event.role }))];
  names.sort((a, b) => b.role.localeCompare(a.role) ||
    a.name.localeCompare(b.name, "en", { numeric: true }));
  for (const node of fleet.nodes) showNode(nodeCard(node.name), node);
  for (const event of lost) showLost(nodeCard(event.node), event);
  const wanted = names.map((node) => nodeCards.get(node.name).li);
  const here = [...$("nodes").children];
  if (wanted.length !== here.length || wanted.some((li, i) => li !== here[i]))
    $("nodes").replaceChildren(...wanted);
  for (const [name, card] of nodeCards) if (!card.li.isConnected) nodeCards.delete(name);
  $("nodes-none").hidden = names.length > 0;
}

/* ---- pairs ---- */

function showPaths(fleet) {
  const rows = new Map();
  for (const [p, d] of fleet.pairs) {
    const names = [fleet.nodes[p].name, fleet.nodes[d].name];
    rows.set(names.join("\n"), { names, up: true, paths: [] });
  }
  for (const path of fleet.paths) {
    const names = [path.from, path.to];
    const key = names.join("\n");
    if (!rows.has(key)) rows.set(key, { names, up: false, paths: [] });
    rows.get(key).paths.push(path);
  }
  const lines = [];
  for (const row of [...rows.values()].sort((a, b) => a.names.join().localeCompare(b.names.join())))
    for (const path of row.paths.length ? row.paths : [null])
      lines.push([row.names.join(" → "), row.up ? "verified" : "gone", path ? path.path : "–",
        path ? count(path.transfers) : "0", path ? bytes(path.bytes) : "–",
        path ? rate(path.bytes, path.us) : "–",
        path ? bytes(path.last_bytes) + " in " + time(path.last_us) : "–"]);
  const body = $("paths");
  while (body.rows.length > lines.length) body.deleteRow(-1);
  lines.forEach((line, i) => {
    const tr = body.rows[i] || body.insertRow();
    line.forEach((text, j) => {
      const td = tr.cells[j] || tr.insertCell();
      td.className = j > 2 ? "num" : j === 1 ? (text === "gone" ? "bad" : "good") : "";
      put(td, text);
    });
  });
  $("paths-none").hidden = lines.length > 0;
}

/* ---- requests ---- */

/* The phases as bars [kind, from, to, lane] in µs: the router's and P's in the upper lane, from the
 * front; D's in the lower one, from the end: a transfer may well begin while P computes. */
function phases(req) {
  const total = req.total_us;
  const bars = [];
  let at = 0;
  const front = (kind, us) => {
    if (us > 0) bars.push([kind, at, at + us, "top"]);
    at += us;
  };
  front("router_queue", req.router_queue_us);
  front("prefill_queue", req.prefill_queue_us);
  front("prefill", req.prefill_us);
  at = total - req.decode_us - req.first_step_us;
  if (req.first_token_us > 0 && req.decode_us === 0) at = Math.max(req.first_token_us, 0);
  if (req.first_token_us > 0 && total > at) bars.push(["decode", at, total, "low"]);
  for (const [kind, us] of [["decode_queue", req.decode_queue_us], ["transfer", req.transfer_us]]) {
    if (us > 0) bars.push([kind, at - us, at, "low"]);
    at -= us;
  }
  /* The ledger is of the last try: what was decoded before it lies between. */
  if (req.attempts > 1 && req.first_token_us > 0 && at > req.first_token_us)
    bars.push(["earlier", req.first_token_us, at, "low"]);
  return bars;
}

/* What is known of a request that runs: where it is now is drawn up to now. */
function soFar(req) {
  const one = { ...req, total_us: req.age_us };
  if (req.state === "queued") one.router_queue_us = req.age_us;
  else if (!req.first_token_us)
    one.prefill_us = Math.max(0, req.age_us - req.router_queue_us - req.prefill_queue_us);
  return one;
}

function drawFall(fall, req, scale) {
  const percent = (us) => (100 * Math.min(Math.max(us, 0), scale)) / scale;
  const parts = phases(req).filter(([, from]) => from < scale);
  const marks = req.first_token_us > 0 && req.first_token_us <= scale ? 1 : 0;
  while (fall.children.length > parts.length + marks) fall.lastChild.remove();
  while (fall.children.length < parts.length + marks) fall.append(make("i"));
  parts.forEach(([kind, from, to, lane], i) => {
    const bar = fall.children[i];
    bar.className = lane + " k-" + kind;
    bar.style.left = percent(from) + "%";
    bar.style.width = percent(to) - percent(from) + "%";
  });
  if (marks) {
    fall.lastChild.className = "mark";
    fall.lastChild.style.left = percent(req.first_token_us) + "%";
    fall.lastChild.style.width = "";
  }
}

const rows = new Map(); /* id -> its elements */
let chosen = null;

function makeRow(id) {
  const li = make("li");
  const button = make("button");
  const row = { li, button, state: make("span", "cell"), fall: make("span", "fall"),
    nodes: make("span", "cell faint nodes-cell"), tokens: make("span", "cell num"),
    total: make("span", "cell num") };
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  row.fall.setAttribute("aria-hidden", "true");
  button.append(row.state, row.fall, row.nodes, row.tokens, row.total);
  button.addEventListener("click", () => {
    chosen = chosen === id ? null : id;
    showRequests(true);
  });
  li.append(button);
  rows.set(id, row);
  return row;
}

function showRow(row, req, scale) {
  const running = req.state !== undefined;
  const state = running ? req.state : req.ok ? "done" : req.status.toLowerCase();
  put(row.state, state);
  row.state.className = "cell " + (running ? "" : req.ok ? "good" : "bad");
  put(row.nodes, req.decode_node ? req.prefill_node + " → " + req.decode_node : req.prefill_node);
  put(row.tokens, count(req.prompt_tokens) + " + " + count(req.emitted_tokens));
  put(row.total, time(req.total_us));
  row.button.title = state + ": " + req.prompt_tokens + " tokens of prompt, " +
    req.emitted_tokens + " of answer, " + time(req.total_us);
  row.button.setAttribute("aria-pressed", String(chosen === req.id));
  drawFall(row.fall, req, scale);
}

function details(req) {
  const running = req.state !== undefined;
  const list = [
    ["State", running ? req.state : req.ok ? "done: " + req.end : req.status.toLowerCase()],
    ["Prompt", req.prompt_tokens + " tokens"], ["Answer", req.emitted_tokens + " tokens"],
    ["Router queue", time(req.router_queue_us)], ["Prefill queue", time(req.prefill_queue_us)],
    ["Prefill", time(req.prefill_us)],
    ["Transfer", time(req.transfer_us) + ", " + bytes(req.transfer_bytes)],
    ["Path", req.path || "–"], ["Transfer rate", rate(req.transfer_bytes, req.transfer_us)],
    ["Decode queue", time(req.decode_queue_us)], ["First step", time(req.first_step_us)],
    ["Decode", time(req.decode_us)],
    ["First token", req.first_token_us ? time(req.first_token_us) : "–"],
    ["Total", time(req.total_us)], ["Attempts", String(req.attempts)],
    ["Prefill node", req.prefill_node || "–"], ["Decode node", req.decode_node || "–"],
  ];
  const dl = make("dl");
  for (const [name, value] of list) {
    const div = make("div");
    div.append(make("dt", "", name), make("dd", "", value));
    dl.append(div);
  }
  return [make("p", "id", "request " + req.id), dl];
}

let running = [];

function showDetails(all) {
  const req = all.find((one) => one.id === chosen);
  if (req) $("details").replaceChildren(...details(req));
  else $("details").replaceChildren(
    make("p", "faint", "Choose a request to see its ledger. Prompts and answers are not kept."));
}

/* by: the reader asked for it; else the list may be held. */
function showRequests(by) {
  if ($("hold").checked && !by) return;
  const mode = $("scale").value;
  const ids = new Set(running.map((req) => req.id));
  const all = [...running.map(soFar), ...known.ended.filter((req) => !ids.has(req.id))]
    .slice(0, ROWS_MAX);
  const length = (req) => (mode === "first" && req.first_token_us ? req.first_token_us :
    req.total_us) || 1;
  const longest = all.reduce((most, req) => Math.max(most, length(req)), 1);
  const wanted = all.map((req) => {
    const row = rows.get(req.id) || makeRow(req.id);
    showRow(row, req, mode === "own" ? length(req) : longest);
    return row.li;
  });
  const list = $("requests");
  wanted.forEach((li, i) => {
    if (list.children[i] !== li) list.insertBefore(li, list.children[i] || null);
  });
  while (list.children.length > wanted.length) list.lastChild.remove();
  for (const [id, row] of rows) if (!row.li.isConnected) rows.delete(id);
  showDetails(all);
}

/* ---- events ---- */

let eventsShown = "";

function showEvents(fleet, now) {
  const shown = JSON.stringify(fleet.events.map((event) => event.number));
  if (shown !== eventsShown) {
    eventsShown = shown;
    $("events").replaceChildren(...fleet.events.map((event) => {
      const li = make("li");
      const what = event.what === "lost" ? event.node + " (" + event.role + ") was lost: " +
        event.why : event.node + " (" + event.role + ") joined";
      li.append(make("time"), make("span", event.what === "lost" ? "bad" : "", what));
      return li;
    }));
  }
  fleet.events.forEach((event, i) => {
    put($("events").children[i].firstChild, ago(event.age_us / 1000));
  });
}

/* ---- plots ---- */

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/* The least round number that is not under x. */
function nice(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((m) => m * power).find((y) => y >= x * 0.9999);
}

/* A canvas as large as its place, axes drawn; x and y give a point's place. */
function frame(canvas, now, top, unit) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const ink = canvas.getContext("2d");
  const left = 4, right = width - 4, high = 14, low = height - 16;
  const x = (at) => right - ((now - at) / WINDOW_MS) * (right - left);
  const y = (value) => low - (Math.min(value, top) / top) * (low - high);
  ink.setTransform(ratio, 0, 0, ratio, 0, 0);
  ink.clearRect(0, 0, width, height);
  ink.font = "11px system-ui, sans-serif";
  ink.lineWidth = 1;
  ink.strokeStyle = color("--line");
  ink.fillStyle = color("--faint");
  for (const part of [0, 0.5, 1]) {
    const at = Math.round(y(part * top)) + 0.5;
    ink.beginPath();
    ink.moveTo(left, at);
    ink.lineTo(right, at);
    ink.stroke();
    ink.textAlign = "left";
    if (part > 0) ink.fillText(Number((part * top).toPrecision(3)) + unit, left, at - 3);
  }
  ink.fillText("5 min ago", left, height - 3);
  ink.textAlign = "right";
  ink.fillText("now", right, height - 3);
  return { ink, x, y, low };
}

/* Breaks where a value is missing. */
function line(place, points, name, fill) {
  const { ink, x, y, low } = place;
  ink.strokeStyle = color(name);
  ink.lineWidth = 1.8;
  ink.beginPath();
  let drawing = false;
  for (const point of points) {
    if (point.value === null) drawing = false;
    else if (drawing) ink.lineTo(x(point.at), y(point.value));
    else {
      ink.moveTo(x(point.at), y(point.value));
      drawing = true;
    }
  }
  ink.stroke();
  if (!fill || points.length < 2) return;
  ink.lineTo(x(points[points.length - 1].at), low);
  ink.lineTo(x(points[0].at), low);
  ink.globalAlpha = 0.15;
  ink.fillStyle = color(name);
  ink.fill();
  ink.globalAlpha = 1;
}

function slide(samples, now, p) {
  const points = [];
  for (let at = now - WINDOW_MS; at <= now; at += 5000) {
    const near = samples.filter((s) => s.at > at - SLIDE_MS && s.at <= at).map((s) => s.value);
    near.sort((a, b) => a - b);
    points.push({ at, value: near.length ? percentile(near, p) : null });
  }
  return points;
}

/* A plot in words: [[name, value], ...] of the last minute. */
function caption(id, words) {
  const list = $(id + "-now");
  words.forEach(([name, value], i) => {
    const div = list.children[i] || list.appendChild(make("div", name));
    if (!div.firstChild) div.append(make("dt", "", name), make("dd"));
    put(div.lastChild, value);
  });
  $(id).setAttribute("aria-label", words.map((pair) => pair.join(" ")).join(", "));
}

function plotLatency(id, samples, now) {
  const recent = samples.filter((s) => s.at > now - NOW_MS).map((s) => s.value);
  const slow = slide(samples, now, 0.95);
  const all = samples.map((s) => s.value).sort((a, b) => a - b);
  /* A few that took very long would press all others flat: they are drawn at the upper edge. */
  const top = slow.reduce((most, s) => Math.max(most, s.value || 0),
    all.length ? percentile(all, 0.98) : 0);
  const place = frame($(id), now, nice(Math.max(top, 0.1)), " ms");
  place.ink.fillStyle = color("--dot");
  place.ink.globalAlpha = 0.6;
  for (const s of samples) place.ink.fillRect(place.x(s.at) - 1, place.y(s.value) - 1, 2, 2);
  place.ink.globalAlpha = 1;
  line(place, slow, "--p95", false);
  line(place, slide(samples, now, 0.5), "--p50", false);
  recent.sort((a, b) => a - b);
  caption(id, [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]].map(([name, p]) =>
    [name, recent.length ? time(1000 * percentile(recent, p)) : "–"]));
}

function plotSpeed(now) {
  const top = known.speeds.reduce((most, s) => Math.max(most, s.value), 0);
  line(frame($("p-speed"), now, nice(Math.max(top, 10)), "/s"), known.speeds, "--p50", true);
  const recent = known.speeds.filter((s) => s.at > now - NOW_MS);
  const mean = recent.reduce((sum, s) => sum + s.value, 0) / (recent.length || 1);
  const newest = recent.length ? recent[recent.length - 1].value : 0;
  caption("p-speed", [["now", three(newest)], ["last minute", three(mean)], ["most", three(top)]]);
}

function showPlots() {
  const now = Date.now();
  const of = (name) => known.samples.filter((s) => s[name] !== null)
    .map((s) => ({ at: s.at, value: s[name] }));
  plotLatency("p-first", of("first"), now);
  plotLatency("p-gap", of("gap"), now);
  plotSpeed(now);
}

/* ---- asking ---- */

function show(fleet) {
  const now = Date.now();
  remember(fleet, now);
  running = fleet.running.slice().sort((a, b) => a.age_us - b.age_us);
  put($("model"), fleet.model);
  put($("version"), fleet.version + (fleet.numerics ? " · " + fleet.numerics : ""));
  if (fleet.draining) showHealth("Shutting down", "warn");
  else if (fleet.ready) showHealth("Ready", "good");
  else showHealth("No pair is ready", "bad");
  showTiles(fleet, now);
  showNodes(fleet);
  showPaths(fleet);
  showRequests(false);
  showEvents(fleet, now);
  showPlots();
  known.before = fleet;
  known.beforeAt = now;
}

let timer = 0;
let asking = false;

async function poll() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch("fleet.json?since=" + known.last, {
      headers: headers(), cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status === 401) {
      showHealth("An API key is needed", "warn");
      askKey(true);
    } else if (!answer.ok) {
      showHealth("The router answers " + answer.status, "bad");
    } else {
      show(await answer.json());
    }
  } catch (error) {
    if (error instanceof TypeError || error.name === "TimeoutError")
      showHealth("No answer from the router", "bad");
    else throw error;
  } finally {
    asking = false;
    timer = setTimeout(poll, document.hidden ? POLL_HIDDEN_MS : POLL_MS);
  }
}

initKey();
$("scale").addEventListener("change", () => showRequests(true));
$("hold").addEventListener("change", () => showRequests(false));
document.addEventListener("visibilitychange", () => document.hidden || poll());
window.addEventListener("resize", showPlots);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showPlots);
showPlots();
poll();
