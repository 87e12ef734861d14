// What is happening now: alerts, stories and trends, and volume and mood with drill-down
// by platform, topic and channel.
import { timeline } from "/assets/charts.js";
import { ASKED, asked_or_why, happening } from "/assets/happening.js";
import { ask, card, count, el, mood, nothing, query, table } from "/assets/dom.js";

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const SPANS = {
  "1m": { name: "the last hour", length: MINUTE, steps: 60 },
  "1h": { name: "the last two days", length: HOUR, steps: 48 },
  "1d": { name: "the last 30 days", length: DAY, steps: 30 },
};
const DIMENSIONS = ["platform", "topic", "channel"];
const PAGES_MAX = 5, ROWS = 12;

const chosen = { window: "1h", platform: null, topic: null, channel: null };

async function cells(parameters, signal) {
  const all = [];
  let cursor = null, as_of;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const answer = await ask(query("/v1/volume", { ...parameters, cursor }), signal);
    all.push(...answer.cells);
    [cursor, as_of] = [answer.cursor, answer.as_of];
    if (cursor === null) break;
  }
  return { cells: all, as_of, more: cursor !== null };
}

const mean = (sum, scored) => (scored ? sum / scored / 1e4 : null);

function points(answer, span, from) {
  const at = new Map(answer.cells.map((cell) => [Date.parse(cell.start), cell]));
  return Array.from({ length: span.steps }, (_, i) => {
    const cell = at.get(from + i * span.length);
    return { at: from + i * span.length, count: cell?.count ?? 0, mood: cell?.compound_mean ?? null };
  });
}

function grouped(answer, dimension) {
  const groups = new Map();
  for (const cell of answer.cells) {
    const key = cell[dimension] ?? null;
    const name = dimension === "channel" ? JSON.stringify([cell.platform, key]) : key;
    const group = groups.get(name) ?? { key, platform: cell.platform, count: 0, scored: 0, sum: 0 };
    group.count += cell.count;
    group.scored += cell.scored;
    group.sum += cell.compound_sum;
    groups.set(name, group);
  }
  return [...groups.values()].sort((a, b) => b.count - a.count);
}

function drill(dimension, group, redraw) {
  const name = group.key ?? (dimension === "topic" ? "no watched topic" : "none");
  if (group.key === null) return el("span", { class: "soft" }, name);
  return el("button", { class: "link", type: "button", onclick: () => {
    chosen[dimension] = group.key;
    if (dimension === "channel") chosen.platform = group.platform;
    redraw();
  } }, dimension === "channel" ? `${name} (${group.platform})` : name);
}

function list(dimension, answer, redraw) {
  const groups = grouped(answer, dimension);
  const rows = groups.slice(0, ROWS).map((group) => [drill(dimension, group, redraw), count(group.count), mood(mean(group.sum, group.scored))]);
  const rest = groups.length - rows.length;
  return card(`By ${dimension}`,
    rows.length ? table(null, [dimension, "#items", "#mood"], rows) : nothing("nothing in this time"),
    rest > 0 ? el("p", { class: "soft small" }, `and ${count(rest)} more`) : null);
}

function controls(redraw) {
  const windows = Object.entries(SPANS).map(([window, span]) =>
    el("button", { type: "button", "aria-pressed": String(chosen.window === window), onclick: () => { chosen.window = window; redraw(); } }, span.name));
  const filters = DIMENSIONS.filter((dimension) => chosen[dimension] !== null).map((dimension) =>
    el("button", { type: "button", "aria-label": `remove the filter ${dimension} ${chosen[dimension]}`, onclick: () => { chosen[dimension] = null; redraw(); } }, `${dimension}: ${chosen[dimension]} ✕`));
  return el("div", { class: "row", role: "group", "aria-label": "Time and filters" }, windows, filters);
}

export async function now({ signal, redraw, because }) {
  const span = SPANS[chosen.window];
  const to = Math.floor(Date.now() / span.length) * span.length + span.length;
  const from = to - span.steps * span.length;
  const filters = Object.fromEntries(DIMENSIONS.map((dimension) => [dimension, chosen[dimension]]));
  const asked = { window: chosen.window, from, to, ...filters };
  const open = DIMENSIONS.filter((dimension) => chosen[dimension] === null);
  const [alerts, stories, trends, all, ...lists] = await Promise.all([
    ...[ASKED.alerts, ASKED.stories, ASKED.trends].map((path) => asked_or_why(path, signal)),
    cells(asked, signal),
    ...open.map((dimension) => cells({ ...asked, by: dimension }, signal)),
  ]);
  const label = (at) => new Date(at).toLocaleString([], chosen.window === "1d" ? { month: "short", day: "numeric" } : { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const drawn = points(all, span, from);
  const total = drawn.reduce((sum, point) => sum + point.count, 0);
  return {
    as_of: all.as_of,
    nodes: [
      ...happening({ alerts, stories, trends }, because),
      controls(redraw),
      card(`Volume and mood, ${span.name}`,
        total ? timeline(drawn, label) : nothing(`no data yet, because ${because("nothing was published in this time that Tidings has seen")}`)),
      el("div", { class: "columns" }, open.map((dimension, i) => list(dimension, lists[i], redraw))),
    ],
  };
}
