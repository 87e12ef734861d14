// Elements, formats, questions to the program. Text from outside only ever becomes a text node.

export function el(name, attributes, ...children) {
  const svg = ["svg", "g", "rect", "path", "circle", "line", "text", "title"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

export class Refusal extends Error {}

// The answer, or a Refusal that says why there is none.
export async function ask(path, signal) {
  let response;
  try {
    response = await fetch(path, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("the program does not answer");
  }
  const text = await response.text();
  if (!response.ok) {
    let detail = response.statusText;
    try { detail = JSON.parse(text).detail ?? detail; } catch { /* not a problem document */ }
    throw new Refusal(`${response.status}: ${detail}`);
  }
  return response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
}

export function query(path, parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return set.length ? `${path}?${new URLSearchParams(set)}` : path;
}

const whole = new Intl.NumberFormat("en");
export const count = (n) => whole.format(Math.round(n));

export function mood(value) {
  if (value === null || value === undefined) return el("span", { class: "soft" }, "–");
  const kind = value >= 0.05 ? "good" : value <= -0.05 ? "bad" : "soft";
  return el("span", { class: kind }, (value >= 0 ? "+" : "−") + Math.abs(value).toFixed(2));
}

export function ago(time) {
  if (!time) return "never";
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  const [by, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]].find(([s]) => Math.abs(seconds) >= s) ?? [1, "second"];
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.trunc(seconds / by), unit);
}

export const when = (time) => el("time", { datetime: time, title: time }, ago(time));

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${n.toFixed(unit && n < 100 ? 1 : 0)} ${units[unit]}`;
}

// A link to where content came from; anything but the web stays text.
export function outside(url, text) {
  const web = /^https?:\/\//i.test(url ?? "");
  return web ? el("a", { href: url, rel: "noreferrer noopener", target: "_blank" }, text) : el("span", {}, text);
}

export const nothing = (because) => el("p", { class: "nothing" }, because);

export function card(title, ...children) {
  return el("section", { class: "card", "aria-label": title }, el("h2", {}, title), ...children);
}

// Columns are names; a name that starts with # is a column of numbers.
export function table(caption, columns, rows) {
  const number = (i) => (columns[i].startsWith("#") ? "number" : undefined);
  const head = el("tr", {}, columns.map((name, i) => el("th", { scope: "col", class: number(i) }, name.replace("#", ""))));
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, i) => el("td", { class: number(i) }, cell ?? "–"))));
  return el("div", { class: "scroll" }, el("table", {}, caption ? el("caption", {}, caption) : null, el("thead", {}, head), el("tbody", {}, body)));
}
