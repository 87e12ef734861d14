// Bars of volume over a line of mood, on one axis of time.
import { count, el } from "/assets/dom.js";

const BARS = 130, GAP = 18, MOOD = 60, LEFT = 44, RIGHT = 8;

// Points are {at, count, mood}, in order, with every bucket there. The picture is as wide
// as its place, so that its text has the size of the text around it.
export function timeline(points, label) {
  const WIDTH = Math.max(280, Math.min(1160, document.querySelector("main").clientWidth - 68));
  const top = Math.max(1, ...points.map((point) => point.count));
  const step = (WIDTH - LEFT - RIGHT) / Math.max(1, points.length);
  const x = (i) => LEFT + i * step;
  const bars = points.map((point, i) => {
    const height = (point.count / top) * BARS;
    const says = `${label(point.at)}: ${count(point.count)} items, mood ${point.mood === null ? "unknown" : point.mood.toFixed(2)}`;
    return el("rect", { class: "bar", x: x(i).toFixed(1), y: (BARS + 12 - height).toFixed(1), width: Math.max(0.5, step - 1).toFixed(1), height: height.toFixed(1) }, el("title", {}, says));
  });
  const middle = BARS + 12 + GAP + MOOD / 2;
  const y = (value) => (middle - (value * MOOD) / 2).toFixed(1);
  let path = "", pen = false;
  points.forEach((point, i) => {
    if (point.mood === null) { pen = false; return; }
    path += `${pen ? "L" : "M"}${(x(i) + step / 2).toFixed(1)},${y(point.mood)}`;
    pen = true;
  });
  const dots = points.flatMap((point, i) =>
    point.mood === null ? [] : [el("circle", { class: "dot", cx: (x(i) + step / 2).toFixed(1), cy: y(point.mood), r: 1.8 })]);
  const ticks = [0, Math.floor(points.length / 2), points.length - 1].filter((i, n, all) => i >= 0 && all.indexOf(i) === n);
  const height = BARS + 12 + GAP + MOOD + 16;
  const total = points.reduce((sum, point) => sum + point.count, 0);
  return el("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Volume and mood over time: ${count(total)} items, at most ${count(top)} in one step` },
    el("text", { x: LEFT - 6, y: 16, "text-anchor": "end" }, count(top)),
    el("text", { x: LEFT - 6, y: BARS + 12, "text-anchor": "end" }, "0"),
    el("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: BARS + 12, y2: BARS + 12 }),
    bars,
    el("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: middle, y2: middle }),
    el("text", { x: LEFT - 6, y: middle - MOOD / 2 + 8, "text-anchor": "end" }, "+1"),
    el("text", { x: LEFT - 6, y: middle + 3, "text-anchor": "end" }, "mood"),
    el("text", { x: LEFT - 6, y: middle + MOOD / 2, "text-anchor": "end" }, "−1"),
    el("path", { class: "line", d: path }), dots,
    ticks.map((i) => el("text", { x: x(i) + step / 2, y: height - 3, "text-anchor": i === 0 ? "start" : i === points.length - 1 ? "end" : "middle" }, label(points[i].at))));
}
