// The web console: what /metrics, /readyz and /version say, as a page. It changes nothing and keeps nothing.

import { Scrape, Span } from "./openmetrics.js";

const EVERY_MS = 2000;
const POINTS = 150;
const HELD = ["hit", "peer", "stale"];
const BREAKERS = ["closed", "half open", "open"];

const byId = (id) => document.getElementById(id);
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const number = (value, digits = 0) => value.toLocaleString("en", { maximumFractionDigits: digits });
const percent = (part, whole) => (whole > 0 ? `${number((100 * part) / whole, 1)} %` : "–");
const bytes = (value) => {
  const step = value > 0 ? Math.min(Math.floor(Math.log2(value) / 10), 5) : 0;
  return `${number(value / 1024 ** step, step ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][step]}`;
};
const duration = (seconds) => {
  if (seconds === null) return "–";
  if (seconds === Infinity) return "more";
  return seconds < 1 ? `≤ ${number(seconds * 1000, 1)} ms` : `≤ ${number(seconds, 1)} s`;
};

/** What is shown large, each with its course. */
const TILES = [
  {
    title: "Requests a second",
    needs: "goproxy_http_connections",
    of: (span) => span.perSecond("goproxy_http_requests_total"),
    text: (value) => number(value, value < 10 ? 1 : 0),
  },
  {
    title: "Found here or at another node",
    needs: "goproxy_http_connections",
    of: (span) => {
      const hits = span.grew("goproxy_http_requests_total", { cache: HELD });
      const all = hits + span.grew("goproxy_http_requests_total", { cache: ["miss"] });
      return all > 0 ? (100 * hits) / all : null;
    },
    text: (value) => `${number(value, 1)} %`,
  },
  {
    title: "Sent a second",
    needs: "goproxy_http_connections",
    of: (span) => span.perSecond("goproxy_http_sent_bytes_total"),
    text: bytes,
  },
  {
    title: "99 of 100 answers within",
    needs: "goproxy_http_connections",
    of: (span) => span.quantile("goproxy_http_request_seconds", 0.99),
    text: duration,
  },
  {
    title: "Errors a second (5xx)",
    needs: "goproxy_http_connections",
    of: (span) => span.perSecond("goproxy_http_requests_total", { class: ["5xx"] }),
    text: (value) => number(value, 1),
    isBad: (value) => value > 0,
  },
  {
    title: "Connections",
    needs: "goproxy_http_connections",
    of: (span) => span.after.sum("goproxy_http_connections"),
    text: number,
  },
  {
    title: "Resident memory",
    needs: "process_resident_memory_bytes",
    of: (span) => span.after.sum("process_resident_memory_bytes"),
    text: bytes,
  },
];

const flag = (name, says) => (scrape) => (scrape.sum(name) > 0 ? { text: says, bad: true } : null);
const gauge = (label, name, text = number) => ({
  label,
  value: (scrape) => (scrape.has(name) ? { text: text(scrape.sum(name)) } : null),
});

/** Tables of names and values; a row is left out where it has nothing to say, a table where it has no rows. */
const TABLES = [
  {
    title: "Held",
    rows: [
      gauge("Versions", "goproxy_store_records"),
      gauge("Zips", "goproxy_store_zips"),
      gauge("… their size", "goproxy_store_zip_bytes", bytes),
      gauge("… that eviction may take", "goproxy_store_evictable_bytes", bytes),
      gauge("On disk, all in all", "goproxy_store_disk_bytes", bytes),
      gauge("… of removed zips", "goproxy_store_garbage_bytes", bytes),
      gauge("File system in use", "goproxy_store_file_system_percent", (value) => `${number(value)} %`),
      { label: "Evicted so far", value: (scrape) => ({ text: number(scrape.sum("goproxy_store_evicted_total")) }) },
      { label: "Disk", value: flag("goproxy_store_out_of_space", "out of space") },
      { label: "Disk", value: flag("goproxy_store_unwritable", "takes no writes") },
      { label: "Disk", value: flag("goproxy_store_slow", "slow") },
      { label: "Store", value: flag("goproxy_store_stopped", "met damage") },
      { label: "Damage found so far", value: flag("goproxy_serve_damaged_total", "yes, see the log") },
    ],
    needs: "goproxy_store_records",
  },
  {
    title: "Checksum database",
    rows: [
      gauge("Records", "goproxy_sumdb_tree_size"),
      { label: "Content refused so far", value: (scrape) => {
        const refused = scrape.sum("goproxy_serve_refused_content_total");
        return { text: number(refused), bad: refused > 0 };
      } },
      { label: "Timeline", value: flag("goproxy_sumdb_fork_alarm", "forked: do not trust it") },
    ],
    needs: "goproxy_sumdb_tree_size",
  },
  {
    title: "Cluster, as this node knows it",
    rows: [
      gauge("Epoch of the layout", "goproxy_cluster_layout_epoch"),
      { label: "Control plane", value: (scrape) =>
        scrape.sum("goproxy_cluster_control_connected") > 0 ? { text: "followed" } : { text: "not reached", bad: true } },
      gauge("Last heard of, seconds ago", "goproxy_cluster_view_age_seconds"),
      gauge("Nodes left alone for a while", "goproxy_peer_left_alone"),
      gauge("Copies waiting", "goproxy_peer_copies_waiting"),
    ],
    needs: "goproxy_cluster_layout_epoch",
  },
  {
    title: "Control plane",
    rows: [
      gauge("Term", "goproxy_control_term"),
      { label: "This member", value: (scrape) => ({ text: scrape.sum("goproxy_control_leads") > 0 ? "leads" : "follows" }) },
      { label: "Leader", value: (scrape) =>
        scrape.sum("goproxy_control_leader_known") > 0 ? { text: "known" } : { text: "unknown", bad: true } },
      gauge("Control nodes", "goproxy_control_members"),
      gauge("Data nodes", "goproxy_control_nodes"),
      { label: "Alarms", value: (scrape) => {
        const alarms = scrape.sum("goproxy_control_alarms");
        return { text: number(alarms), bad: alarms > 0 };
      } },
      { label: "This member", value: flag("goproxy_control_halted", "takes part in nothing") },
    ],
    needs: "goproxy_control_term",
  },
  {
    title: "Process",
    rows: [
      gauge("Open descriptors", "process_open_fds"),
      gauge("Threads", "process_threads"),
    ],
    needs: "process_threads",
  },
];

function originsTable(span) {
  const { after } = span;
  const origins = after.values("goproxy_upstream_breaker", "origin");
  if (origins.length === 0) return null;
  const head = ["Origin", "state", "requests/s", "95 of 100 within", "received"];
  const rows = origins.map((origin) => {
    const of = { origin: [origin] };
    const state = BREAKERS[after.sum("goproxy_upstream_breaker", of)] ?? "–";
    return [
      { text: origin },
      { text: state, bad: state !== "closed" },
      { text: number(span.perSecond("goproxy_upstream_requests_total", of), 1) },
      { text: duration(span.quantile("goproxy_upstream_head_seconds", 0.95, of)) },
      { text: bytes(after.sum("goproxy_upstream_received_bytes_total", of)) },
    ];
  });
  return card("Origins", table(head, rows));
}

function answersTable(span) {
  const kinds = span.after.values("goproxy_http_requests_total", "kind");
  if (kinds.length === 0) return null;
  const head = ["Answers so far", "all", "found", "4xx", "5xx"];
  const count = (kind, wanted) => span.after.sum("goproxy_http_requests_total", { kind: [kind], ...wanted });
  const rows = kinds.map((kind) => {
    const found = count(kind, { cache: HELD });
    return [
      { text: kind },
      { text: number(count(kind, {})) },
      { text: percent(found, found + count(kind, { cache: ["miss"] })) },
      { text: number(count(kind, { class: ["4xx"] })) },
      { text: number(count(kind, { class: ["5xx"] })), bad: count(kind, { class: ["5xx"] }) > 0 },
    ];
  });
  return card("Answers", table(head, rows));
}

const cell = ({ text, bad }) => element("td", bad ? { class: "bad" } : {}, text);
const card = (title, ...content) => element("section", { class: "card" }, element("h2", {}, title), ...content);

function table(head, rows) {
  const headers = head.map((text) => element("th", { scope: "col" }, text));
  const body = rows.map((cells) => element("tr", {}, ...cells.map(cell)));
  return element("table", {}, element("thead", {}, element("tr", {}, ...headers)), element("tbody", {}, ...body));
}

function facts({ title, rows, needs }, scrape) {
  if (!scrape.has(needs)) return null;
  const there = rows.map(({ label, value }) => ({ label, value: value(scrape) })).filter(({ value }) => value);
  const lines = there.map(({ label, value }) => element("tr", {}, element("th", { scope: "row" }, label), cell(value)));
  return card(title, element("table", {}, element("tbody", {}, ...lines)));
}

function course(values) {
  const known = values.filter((value) => Number.isFinite(value));
  const top = Math.max(...known, 1e-9);
  const points = values.flatMap((value, at) => (Number.isFinite(value) ? [`${at},${1 - value / top}`] : []));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 -0.05 ${POINTS - 1} 1.1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
}

const courses = new Map(TILES.map(({ title }) => [title, []]));

function tile({ title, needs, of, text, isBad }, span) {
  if (!span.after.has(needs)) return null;
  const value = span.isEmpty() ? null : of(span);
  const values = courses.get(title);
  values.push(value);
  if (values.length > POINTS) values.shift();
  const shown = element("p", { class: isBad?.(value) ? "value bad" : "value" }, value === null ? "–" : text(value));
  return card(title, shown, course(values));
}

async function ask(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  return { ok: response.ok, text: await response.text() };
}

function show(state, text) {
  byId("state").dataset.state = state;
  byId("state").textContent = text;
}

let before = null;

async function look() {
  const [metrics, ready, version] = await Promise.all([ask("metrics"), ask("readyz"), ask("version")]);
  const after = new Scrape(metrics.text, performance.now());
  const span = new Span(before ?? after, after);
  before = after;
  show(ready.ok ? "good" : "bad", ready.text.trim());
  byId("version").textContent = version.text.trim();
  byId("now").replaceChildren(...TILES.map((one) => tile(one, span)).filter(Boolean));
  const tables = [answersTable(span), originsTable(span), ...TABLES.map((one) => facts(one, after))];
  byId("tables").replaceChildren(...tables.filter(Boolean));
}

async function keepLooking() {
  try {
    if (!document.hidden) await look();
    byId("problem").hidden = true;
  } catch (error) {
    show("bad", "not reached");
    byId("problem").textContent = `This server does not answer (${error.message}). What follows is as it was last.`;
    byId("problem").hidden = false;
  }
  setTimeout(keepLooking, EVERY_MS);
}

keepLooking();
