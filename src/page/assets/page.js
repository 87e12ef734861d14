// Which view is shown, and when it is asked for anew.
import { ago, ask, el, nothing } from "/assets/dom.js";
import { now } from "/assets/now.js";
import { flow, messages, refused, search, sources } from "/assets/views.js";

const VIEWS = { now, search, messages, sources, flow, refused };
const EVERY_MS = 5_000;
// A question that takes this long is not worth waiting for: the next one comes.
const PATIENCE_MS = 30_000;

const main = document.querySelector("main");
const health = document.querySelector("#health");
let report = null;
let turn = 0;
let waiting = null;

const chosen = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "now");

// Why there may be nothing to see, in the words of the health report.
function because(otherwise) {
  const reasons = (report?.components ?? []).filter((part) => part.status !== "ok" && ["sources", "log", "ingest"].includes(part.name)).flatMap((part) => part.reasons);
  return [...reasons, otherwise].filter(Boolean)[0];
}

async function lookAtHealth(signal) {
  try {
    report = await ask("/health", signal);
  } catch (error) {
    report = null;
    health.replaceChildren(el("span", { class: "bad" }, error.message));
    return;
  }
  const troubled = report.components.filter((part) => part.status === "degraded" || part.status === "down");
  const kind = { ok: "good", degraded: "warn", down: "bad" }[report.status] ?? "soft";
  const says = troubled.map((part) => `${part.name}: ${part.reasons[0] ?? part.status}`).join("; ");
  health.replaceChildren(el("span", { class: kind }, report.status), says ? ` ${says}` : "");
}

// Keyboard users keep their place: the element that stands where the focused one stood.
function replace(nodes) {
  const focused = main.contains(document.activeElement) && document.activeElement !== main ? [...main.querySelectorAll("a, button, input, summary")].indexOf(document.activeElement) : -1;
  const open = [...main.querySelectorAll("details")].map((details) => details.open);
  main.replaceChildren(...nodes);
  main.querySelectorAll("details").forEach((details, i) => { details.open = open[i] ?? false; });
  if (focused >= 0) main.querySelectorAll("a, button, input, summary")[focused]?.focus({ preventScroll: true });
}

let stillShown = null;

async function draw(again) {
  if (again && document.hidden) {
    // Nobody looks: nothing is asked until somebody does.
    waiting = setTimeout(() => draw(true), EVERY_MS);
    return;
  }
  const mine = ++turn;
  const view = chosen();
  document.querySelectorAll("nav a").forEach((link) => {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
  document.title = `Tidings: ${view}`;
  clearTimeout(waiting);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  await lookAtHealth(signal);
  if (mine !== turn) return;
  if (again && stillShown === view) {
    waiting = setTimeout(() => draw(true), EVERY_MS);
    return;
  }
  let shown;
  try {
    shown = await VIEWS[view]({ signal, because, redraw: () => draw(false) });
  } catch (error) {
    shown = { nodes: [nothing(error.name === "TimeoutError" || error.name === "AbortError" ? "the program takes too long to answer; this is asked again" : error.message)] };
  }
  if (mine !== turn) return;
  replace(shown.nodes);
  stillShown = shown.still ? view : null;
  document.querySelector("#asof").textContent = shown.as_of ? `As of ${new Date(shown.as_of).toLocaleString()} (${ago(shown.as_of)}), by the clock of the pipeline.` : "";
  waiting = setTimeout(() => draw(true), shown.every ?? EVERY_MS);
}

window.addEventListener("hashchange", () => { draw(false).then(() => main.focus({ preventScroll: true })); });
draw(false);
