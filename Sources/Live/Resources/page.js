"use strict";
// The page's script. What it shows comes from the helper and, behind it, from a guest that nobody vouches for: texts are set
// as textContent, and nothing here makes markup of a text (the page's policy forbids it, too).

// The token stands behind the # of the address, which browsers send to nobody; it goes as a header. It is kept for
// reloads of this tab, and taken out of the address, which people copy.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token") || "";

const byID = id => document.getElementById(id);
const rows = new Map();                    // by number: what the server said, and the elements that show it
const samples = 60;                        // so many seconds are plotted
const totals = { in: [], out: [] };
const view = { search: "", show: "all", sort: "port", limit: 300 };
let first = true, sampled = 0;

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function bytes(count) {
  let value = Number(count), unit = 0;
  while (value >= 1024 && unit < 4) { value /= 1024; unit += 1; }
  const digits = unit > 0 && value < 10 ? value.toFixed(1) : String(Math.floor(value));
  return `${digits} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

const speed = rate => rate < 0.5 ? "0" : `${bytes(Math.round(rate))}/s`;

function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

// ---- Plots

function remember(list, value) {
  list.push(value);
  if (list.length > samples) list.shift();
}

function points(list, width, height, most) {
  const step = width / (samples - 1), start = samples - list.length;
  return list.map((value, index) =>
    `${((start + index) * step).toFixed(1)},${(height - 1 - (value / most) * (height - 2)).toFixed(1)}`).join(" ");
}

function plot(line, list, width, height, most) {
  line.setAttribute("points", points(list, width, height, Math.max(most, 1)));
}

// ---- Rows

const kinds = {
  active: "good", conflict: "bad", denied: "bad", limit: "bad", pending: "wait", unavailable: "wait",
};
const isMirrored = port => port.state === "active" || port.state === "covered";
// A forward's end may be a path, which has no port: those stand at the end.
const number = port => {
  const found = Number(port.listener.slice(port.listener.lastIndexOf(":") + 1));
  return Number.isNaN(found) ? 65536 : found;
};
const title = port => `${port.protocol} ${port.listener}`;
// Of several guests by name; the host's listeners are listed for each of them.
const machine = port => {
  const guest = port.guestName ? `guest ${port.guestName}` : "guest";
  return port.direction === "guest-to-host" ? `in the ${guest}`.replace("the guest ", "guest ")
    : port.guestName ? `on the host, for ${port.guestName}` : "on the host";
};

function spark() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 96 22");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const lines = ["in", "out"].map(name => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("class", name);
    svg.append(line);
    return line;
  });
  return { svg, lines };
}

function cell(row, name, label) {
  const made = element("td", name);
  made.setAttribute("role", "cell");
  if (label) made.dataset.name = label;
  row.append(made);
  return made;
}

function makeRow(id) {
  const line = element("tr");
  line.setAttribute("role", "row");
  const listener = cell(line, "listener");
  const button = element("button");
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => toggle(id));
  const side = element("span", "side");
  listener.append(button, side);
  const state = cell(line, "state-cell");
  const word = element("span", "state"), why = element("span", "why");
  state.append(word, why);
  const mirror = cell(line, "wide mirror", "mirror"), process = cell(line, "wide process");
  const flows = cell(line, "number", "flows"), into = cell(line, "number", "to it"), out = cell(line, "number", "from it");
  const { svg, lines } = spark();
  const plotted = cell(line, "plotted still");
  plotted.append(svg);
  return { line, plotted, button, side, word, why, mirror, process, flows, into, out, lines, in: [], outs: [], explanation: null };
}

function setCell(node, text) {
  setText(node, text);
  node.classList.toggle("empty", text === "");
}

function show(row) {
  const { port } = row, parts = row.parts;
  setText(parts.button, title(port));
  setText(parts.side, machine(port));
  setText(parts.word, port.state);
  parts.word.className = `state ${kinds[port.state] || ""}`;
  setText(parts.why, port.reason || "");
  setCell(parts.mirror, (port.mirror || "").split(",").join(", "));
  const container = port.container ? port.container.name || port.container.id.slice(0, 12) : "";
  setCell(parts.process, [port.owner || "", container && `container ${container}`].filter(Boolean).join(", "));
  setCell(parts.flows, port.flows ? String(port.flows) : "0");
  setCell(parts.into, speed(row.rateIn));
  setCell(parts.out, speed(row.rateOut));
}

// News come when something happens, too; plots have a point for each second.
function sample(news) {
  const now = performance.now();
  if (now - sampled < 900) return;
  sampled = now;
  remember(totals.in, news.rateIn);
  remember(totals.out, news.rateOut);
  const most = Math.max(...totals.in, ...totals.out);
  plot(byID("in-plot").firstElementChild, totals.in, 120, 32, most);
  plot(byID("out-plot").firstElementChild, totals.out, 120, 32, most);
  for (const row of rows.values()) {
    const { parts } = row;
    remember(parts.in, row.rateIn);
    remember(parts.outs, row.rateOut);
    const most = Math.max(...parts.in, ...parts.outs);
    if (most > 0 || parts.moved) {
      plot(parts.lines[0], parts.in, 96, 22, most);
      plot(parts.lines[1], parts.outs, 96, 22, most);
    }
    parts.moved = most > 0;
    parts.plotted.classList.toggle("still", !parts.moved);
  }
}

// ---- Explanations

async function toggle(id) {
  const row = rows.get(id);
  if (!row) return;
  const { parts } = row;
  if (parts.explanation) {
    parts.explanation.remove();
    parts.explanation = null;
    parts.button.setAttribute("aria-expanded", "false");
    return;
  }
  const line = element("tr", "explanation"), box = element("td"), text = element("pre", "", "…");
  line.setAttribute("role", "row");
  box.setAttribute("role", "cell");
  box.colSpan = 8;
  line.id = `explanation-${id}`;
  text.setAttribute("aria-live", "polite");
  box.append(text);
  line.append(box);
  parts.explanation = line;
  parts.button.setAttribute("aria-expanded", "true");
  parts.button.setAttribute("aria-controls", line.id);
  parts.line.after(line);
  explain(id);
}

async function explain(id) {
  const row = rows.get(id);
  if (!row || !row.parts.explanation) return;
  const text = row.parts.explanation.querySelector("pre");
  try {
    const answer = await ask(`/v1/explain?row=${id}`);
    setText(text, answer.ok ? (await answer.json()).text : await answer.text());
  } catch {
    setText(text, "The page's program does not answer.");
  }
}

// ---- The table

function isWanted(row) {
  const { port } = row;
  if (view.show !== "all" && isMirrored(port) !== (view.show === "mirrored")) return false;
  if (!view.search) return true;
  const container = port.container ? `${port.container.name} ${port.container.id}` : "";
  const text = [title(port), port.state, port.reason, port.mirror, port.owner, container, machine(port)]
    .join("\n").toLowerCase();
  return view.search.toLowerCase().split(/\s+/).every(word => text.includes(word));
}

const keys = {
  port: row => [number(row.port)],
  rate: row => [-(row.rateIn + row.rateOut), number(row.port)],
  state: row => [row.port.state, number(row.port)],
  process: row => [(row.port.owner || "\uffff").replace(/^\d+\//, ""), number(row.port)],
  container: row => [row.port.container ? row.port.container.name : "\uffff", number(row.port)],
};

function compare(one, other) {
  for (let index = 0; index < one.length; index += 1) {
    if (one[index] < other[index]) return -1;
    if (one[index] > other[index]) return 1;
  }
  return 0;
}

// Lines are moved only where they are not in order, and the one with the focus gets it back.
function arrange() {
  const key = keys[view.sort];
  const wanted = [...rows.values()].filter(isWanted).map(row => ({ row, key: [...key(row), row.row] }))
    .sort((one, other) => compare(one.key, other.key)).map(({ row }) => row);
  const shown = wanted.slice(0, view.limit);
  const body = byID("rows"), focused = document.activeElement;
  const lines = shown.flatMap(({ parts }) => parts.explanation ? [parts.line, parts.explanation] : [parts.line]);
  const kept = new Set(lines);
  for (const line of [...body.children]) if (!kept.has(line)) line.remove();
  let next = body.firstElementChild;
  for (const line of lines) {
    if (line === next) {
      next = next.nextElementSibling;
    } else {
      body.insertBefore(line, next);
    }
  }
  if (focused && focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
  const empty = byID("empty");
  empty.hidden = shown.length > 0 || first;
  setText(empty, rows.size ? `None of ${rows.size} listeners is so.` : "No listeners.");
  const more = byID("more");
  more.hidden = wanted.length <= view.limit;
  setText(more, `Show all ${wanted.length}`);
}

// ---- News

function announce(appeared, changed, gone) {
  const words = [];
  const name = row => `${title(row.port)}, ${row.port.state}`;
  if (appeared.length) words.push(appeared.length < 4 ? `new: ${appeared.map(name).join("; ")}` : `${appeared.length} new listeners`);
  if (changed.length) words.push(changed.length < 4 ? `now ${changed.map(name).join("; ")}` : `${changed.length} changed`);
  if (gone.length) words.push(gone.length < 4 ? `gone: ${gone.map(row => title(row.port)).join("; ")}` : `${gone.length} gone`);
  if (words.length) setText(byID("news"), words.join(". "));
}

function take(news) {
  const appeared = [], changed = [], gone = [];
  const numbers = new Set(news.rows.map(row => row.row));
  if (news.reset) for (const id of [...rows.keys()]) if (!numbers.has(id)) drop(id, gone);
  for (const said of news.rows) {
    let row = rows.get(said.row);
    if (!row) {
      row = { parts: makeRow(said.row) };
      rows.set(said.row, row);
      if (!first) {
        appeared.push(row);
        row.parts.line.classList.add("new");
      }
    } else if (row.port.state !== said.port.state) {
      changed.push(row);
    }
    const isNews = row.port && (row.port.state !== said.port.state || row.port.reason !== said.port.reason);
    Object.assign(row, said);
    show(row);
    if (isNews) explain(said.row);
  }
  for (const id of news.gone) drop(id, gone);
  showSums(news);
  sample(news);
  first = false;
  arrange();
  announce(appeared, changed, gone);
}

function drop(id, gone) {
  const row = rows.get(id);
  if (!row) return;
  row.parts.line.remove();
  if (row.parts.explanation) row.parts.explanation.remove();
  rows.delete(id);
  gone.push(row);
}

function showSums(news) {
  const { status } = news;
  trouble(news.trouble);
  const session = byID("session");
  setText(session, `tunnel ${status.session}`);
  session.className = `state ${status.session === "up" ? "good" : "bad"}`;
  const since = status.sessionSeconds === null ? "" : `, ${duration(status.sessionSeconds)}`;
  const up = status.guests.filter(guest => guest.session === "up").length;
  const several = `${up} of ${status.guests.length} guests connected`;
  setText(byID("guest"), status.guests.length > 0 ? several : status.guest
    ? `${status.guest.hostname}, ${status.guest.os} ${status.guest.kernel}${since}` : status.sessionError || "");
  const all = Object.values(status.states).reduce((sum, count) => sum + count, 0);
  setText(byID("listeners-sum"), String(all));
  setText(byID("states"), Object.entries(status.states).sort((one, other) => other[1] - one[1])
    .map(([name, count]) => `${count} ${name}`).join(", "));
  setText(byID("flows-sum"), String(status.flows));
  setText(byID("enabled"), `host networking is ${status.enabled ? "on" : "off"}`);
  setText(byID("in-sum"), speed(news.rateIn));
  setText(byID("out-sum"), speed(news.rateOut));
  setText(byID("helper"), `Helper ${status.version}, pid ${status.pid}, ${status.tunnel}, settings ${status.settingsPath}`
    + (status.settingsError ? `: ${status.settingsErrorOf === "tunnel" ? "all but a tunnel in force" : "not in force"}: ${status.settingsError}` : ""));
}

function trouble(text) {
  const box = byID("trouble");
  box.hidden = !text;
  setText(box, text || "");
  document.body.classList.toggle("stale", Boolean(text));
}

// ---- The server

const ask = path => fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store", credentials: "omit" });

// Server-sent events, read by hand: an EventSource sends no header.
async function read(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter(line => line.startsWith("data: ")).map(line => line.slice(6)).join("\n");
      if (data) take(JSON.parse(data));
    }
  }
}

async function follow() {
  for (;;) {
    try {
      const answer = await ask("/v1/stream");
      if (answer.status === 401) return trouble("This address lacks the token, or it is an old one: open the address that twinport page printed.");
      if (answer.ok) {
        await read(answer);
      } else {
        trouble(await answer.text());
      }
    } catch (error) {
      console.error(error);
    }
    trouble("The connection to twinport page is lost. If it runs, this page comes back by itself.");
    await new Promise(done => setTimeout(done, 1000));
  }
}

byID("search").addEventListener("input", event => { view.search = event.target.value.trim(); arrange(); });
byID("sort").addEventListener("change", event => { view.sort = event.target.value; arrange(); });
for (const radio of document.querySelectorAll("input[name=show]")) {
  radio.addEventListener("change", () => { view.show = radio.value; arrange(); });
}
byID("more").addEventListener("click", () => { view.limit = Infinity; arrange(); });
byID("tools").addEventListener("submit", event => event.preventDefault());
document.addEventListener("keydown", event => {
  const search = byID("search");
  if (event.key === "/" && document.activeElement !== search && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && document.activeElement === search) {
    search.value = "";
    view.search = "";
    arrange();
  }
});
follow();
