// Search, messages, sources, flow and what was refused.
import { ago, ask, bytes, card, count, el, mood, nothing, outside, query, table, when } from "/assets/dom.js";

// The words of the question, marked where they stand in the text.
function highlighted(text, asked) {
  const words = asked.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter((word) => word.length > 2);
  if (!words.length) return [text];
  const found = new RegExp(`(${words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "giu");
  return text.split(found).map((part, i) => (i % 2 ? el("mark", {}, part) : part));
}

const searched = { text: "", platform: "", answer: null, error: null };

async function runSearch(signal) {
  searched.error = null;
  try {
    searched.answer = searched.text ? await ask(query("/v1/search", { q: searched.text, platform: searched.platform, limit: 20 }), signal) : null;
  } catch (error) {
    [searched.answer, searched.error] = [null, error.message];
  }
}

function hit(found) {
  const ranks = [found.why.lexical_rank && `words: rank ${found.why.lexical_rank}`, found.why.dense_rank && `meaning: rank ${found.why.dense_rank}`].filter(Boolean);
  const title = found.title ?? found.snippet;
  return el("li", {},
    el("div", { class: "text" }, outside(found.url, highlighted(title, searched.text))),
    found.title && found.snippet !== found.title ? el("div", { class: "text" }, highlighted(found.snippet, searched.text)) : null,
    el("div", { class: "soft small" }, found.platform, found.channel ? ` · ${found.channel}` : "", " · ", when(found.published_at), " · mood ", mood(found.compound), ` · ${ranks.join(", ")}`));
}

export async function search({ redraw }) {
  const form = el("form", { class: "row", role: "search", onsubmit: async (event) => {
    event.preventDefault();
    const fields = new FormData(event.target);
    searched.text = fields.get("q").trim();
    searched.platform = fields.get("platform").trim();
    await runSearch();
    redraw();
  } },
    el("input", { type: "search", name: "q", value: searched.text, placeholder: "words, or a sentence whose meaning is searched for", "aria-label": "Question" }),
    el("input", { name: "platform", value: searched.platform, placeholder: "platform", size: 10, "aria-label": "Only this platform" }),
    el("button", {}, "Search"));
  const { answer, error } = searched;
  const found = error ? nothing(error)
    : !answer ? nothing("Everything that Tidings remembers can be found by its words, and by its meaning once it is embedded.")
    : answer.hits.length ? el("ul", { class: "plain" }, answer.hits.map(hit))
    : nothing(`nothing is like that in the memory${answer.as_of ? "" : ", which is empty"}`);
  const mode = answer?.mode_reason ? el("p", { class: "warn small" }, `by ${answer.mode === "lexical" ? "words" : answer.mode} alone: ${answer.mode_reason}`) : null;
  // Its own answer stays until it is asked again, so that typing is never disturbed.
  return { still: true, nodes: [card("Search the memory", form, mode, found)] };
}

// Discord's markdown as far as our messages use it, as text nodes.
const plain = (text) => text.replace(/<t:(\d+):\w>/g, (_, at) => ago(new Date(at * 1000).toISOString())).replace(/\\([^\w\s])/g, "$1").replace(/\*\*?/g, "").replaceAll("\u200b", "");

function embed(part) {
  return el("div", { class: "embed" },
    part.title ? el("p", {}, el("strong", {}, outside(part.url, plain(part.title)))) : null,
    part.description ? el("p", {}, plain(part.description)) : null,
    (part.fields ?? []).map((field) => [el("h3", {}, plain(field.name)), el("p", {}, plain(field.value))]),
    part.footer ? el("p", { class: "soft small" }, plain(part.footer.text ?? part.footer)) : null);
}

const CANDIDATES = 40;

function preview(shown) {
  const rows = shown.candidates.map((candidate) => [
    el("span", { class: candidate.verdict === "shown" ? "good" : "soft" }, candidate.verdict === "shown" ? "in" : "out"),
    el("span", { class: "text" }, candidate.title), candidate.why?.score?.toFixed(2) ?? "–", candidate.verdict]);
  return card(`Digest of the route ${shown.digest.route}, as it would look now`,
    shown.message?.embeds?.length ? shown.message.embeds.map(embed) : nothing(shown.skipped ?? "nothing would be posted: there is nothing in its window"),
    el("details", {}, el("summary", {}, `Why these, and why not the other ${count(Math.max(0, shown.candidates_total - (shown.digest.items?.length ?? 0)))}`),
      table(null, ["", "item", "#score", "because"], rows),
      shown.candidates_total > shown.candidates.length ? el("p", { class: "soft small" }, `and ${count(shown.candidates_total - shown.candidates.length)} more`) : null));
}

export async function messages({ signal }) {
  const [previews, outbox] = await Promise.all([ask(`/v1/digests/preview?candidates=${CANDIDATES}`, signal), ask("/v1/outbox?limit=50", signal)]);
  const rows = outbox.items.map((item) => [when(item.created_at), item.route, item.state, item.reason ?? "–", item.footer]);
  // A preview weighs every candidate of its window, which is not a thing to ask every few seconds.
  return { every: 60_000, nodes: [
    previews.items.length ? previews.items.map(preview) : card("Digests", nothing("no route is configured: routes.toml names them")),
    card("Outbox", rows.length ? table(null, ["written", "route", "state", "because", "footer"], rows) : nothing("nothing has been written to the outbox yet; the next digest will be")),
  ].flat() };
}

export async function sources({ signal }) {
  const answer = await ask("/v1/sources?limit=1000", signal);
  const rows = answer.sources.map((source) => [
    el("span", {}, source.name, el("div", { class: "soft small" }, `${source.type} · ${source.platform}`)),
    el("span", { class: source.condition === "ok" ? "good" : source.condition === "new" ? "soft" : "bad" }, source.condition, source.last_error ? el("div", { class: "small text" }, source.last_error) : null,
      source.silent_since ? el("div", { class: "small warn" }, "quieter than usual since ", when(source.silent_since)) : null),
    source.last_success_at ? when(source.last_success_at) : "never", source.next_due_at ? when(source.next_due_at) : "–",
    count(source.items_created), count(source.items_updated), count(source.items_deleted), count(source.errors_in_row)]);
  return { nodes: [card("Sources", rows.length
    ? table(null, ["source", "condition", "last success", "next due", "#new", "#changed", "#deleted", "#errors in row"], rows)
    : nothing("no source is configured: sources.toml names them, and POST /v1/events takes what is sent"))] };
}

// Prometheus' text format, as far as we write it: name{label="value",…} number.
export function samples(text) {
  return text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => {
    const [, name, labels, value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    return { name, value: Number(value), labels: Object.fromEntries([...(labels ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((m) => [m[1], m[2]])) };
  });
}

let before = null;

export async function flow({ signal }) {
  const [text, topics] = await Promise.all([ask("/metrics", signal), ask("/v1/topics?limit=1000", signal)]);
  const all = samples(text);
  const of = (name) => all.filter((sample) => sample.name === name);
  const value = (name, label) => of(name).find((s) => Object.entries(label ?? {}).every(([k, v]) => s.labels[k] === v))?.value;
  const taken = { at: performance.now(), input: new Map(of("tidings_stage_input_records_total").map((s) => [s.labels.stage, s.value])) };
  const seconds = before ? (taken.at - before.at) / 1000 : 0;
  const rate = (stage) => (seconds > 0.5 ? (taken.input.get(stage) - (before.input.get(stage) ?? 0)) / seconds : null);
  const stages = [...taken.input.keys()].map((stage) => [
    stage, count(taken.input.get(stage)), rate(stage) === null ? "measuring" : `${count(rate(stage))} /s`,
    count(value("tidings_stage_output_records_total", { stage }) ?? 0),
    `${(value("tidings_frontier_age_seconds", { operator: stage }) ?? 0).toFixed(1)} s`,
    bytes(value("tidings_stage_credit_used_bytes", { stage }) ?? 0)]);
  if (!before || seconds > 2) before = taken;
  const lags = of("tidings_log_lag_records").sort((a, b) => b.value - a.value);
  const oldest = of("tidings_frontier_age_seconds").sort((a, b) => b.value - a.value)[0];
  const held = lags[0]?.value > 0 ? `${lags[0].labels.group} is ${count(lags[0].value)} records of ${lags[0].labels.topic} behind` : null;
  const busy = oldest?.value > 1 ? `${oldest.labels.operator} has worked on its oldest epoch for ${oldest.value.toFixed(1)} s` : null;
  const outcomes = of("tidings_stage_records_total").map((s) => [s.labels.stage, s.labels.outcome, count(s.value)]);
  return { nodes: [
    card("Who holds it back", el("p", { class: held || busy ? "warn" : "good" }, [busy, held].filter(Boolean).join("; ") || "nobody: everything that came in is through")),
    card("Stages", stages.length ? table(null, ["stage", "#records in", "#rate", "#records out", "#frontier age", "#read, not committed"], stages) : nothing("no stage runs in this process")),
    el("div", { class: "columns" },
      card("Backlog of those who follow", lags.length ? table(null, ["reader", "topic", "#records behind"], lags.map((s) => [s.labels.group, s.labels.topic, count(s.value)])) : nothing("nobody follows the log here")),
      card("What became of records", outcomes.length ? table(null, ["stage", "outcome", "#records"], outcomes) : nothing("no record has come yet")),
      card("Topics", table(null, ["topic", "#partitions", "#offsets"], topics.topics.map((topic) => [topic.topic, count(topic.partitions), count(topic.offsets)]))),
      card("Process", table(null, ["what", "#now"], [
        ["resident memory", bytes(value("tidings_process_resident_memory_bytes") ?? 0)],
        ["processor time", `${count(value("tidings_process_cpu_seconds_total") ?? 0)} s`],
        ["threads", count(value("tidings_process_threads") ?? 0)],
        ["free disk", bytes(value("tidings_disk_free_bytes") ?? 0)],
        ["age of the newest content", `${(value("tidings_event_freshness_seconds") ?? 0).toFixed(1)} s`]]))),
  ] };
}

export async function refused({ signal }) {
  const [letters, text] = await Promise.all([ask("/v1/dead-letters?limit=50", signal), ask("/metrics", signal)]);
  const all = samples(text);
  const counted = (name, label) => all.filter((s) => s.name === name && s.value > 0).map((s) => [label(s.labels), count(s.value)]);
  const reasons = [
    ...all.filter((s) => s.name === "tidings_ingest_lines_total" && s.labels.outcome === "rejected" && s.value > 0).map((s) => [`at the door: ${s.labels.reason}`, count(s.value)]),
    ...counted("tidings_dead_letters_total", (l) => `${l.stage}: ${l.reason}`),
    ...counted("tidings_late_items", (l) => `too late for windows of ${l.window}`),
    ...all.filter((s) => s.name === "tidings_stage_records_total" && ["duplicate", "stale", "already_deleted"].includes(s.labels.outcome) && s.value > 0).map((s) => [`${s.labels.stage}: ${s.labels.outcome}`, count(s.value)]),
    ...counted("tidings_discord_posts_total", (l) => `post ${l.outcome}${l.reason ? `: ${l.reason}` : ""}`),
  ];
  const rows = letters.items.map((letter) => [when(letter.ingested_at), letter.stage, letter.reason, el("span", { class: "text" }, letter.detail), el("code", { class: "text small" }, (letter.value ?? "").slice(0, 200))]);
  return { nodes: [
    card("What did not become content, by reason", reasons.length ? table(null, ["reason", "#since the start"], reasons) : nothing("nothing was refused since the start")),
    card("Dead letters", rows.length ? table(null, ["taken in", "stage", "reason", "what was wrong", "the record"], rows) : nothing("there are none: every record that the log took could be processed")),
  ] };
}
