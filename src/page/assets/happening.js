// What matters now: alerts, stories, trends. Each says why it is there.
import { Refusal, ask, card, count, el, mood, nothing, outside, when } from "/assets/dom.js";

const ALERTS = 8, STORIES = 8, TRENDS = 12;
// Of so many with the newest activity those are shown that are on most platforms.
const STORIES_WEIGHED = 200;

export const ASKED = { alerts: `/v1/alerts?limit=${ALERTS}`, stories: `/v1/stories?limit=${STORIES_WEIGHED}`, trends: `/v1/trends?limit=${TRENDS}` };

// One part that has no answer, such as alerts where none are delivered, hides no other.
export async function asked_or_why(path, signal) {
  try {
    return await ask(path, signal);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { refused: error.message };
  }
}

const KIND = { critical: "bad", warning: "warn", info: "soft" };

function alert(found) {
  const state = found.state === "firing" ? el("strong", { class: KIND[found.severity] ?? "soft" }, found.severity) : el("span", { class: "soft" }, "over");
  return el("li", {},
    el("div", {}, state, " ", el("strong", { class: "text" }, found.label ?? found.subject), el("span", { class: "soft" }, ` · ${found.rule} · since `, when(found.since))),
    el("div", { class: "text" }, found.why),
    found.examples.length ? el("ul", { class: "plain small" }, found.examples.slice(0, 3).map((item) => el("li", { class: "text" }, outside(item.url, item.title ?? item.id), el("span", { class: "soft" }, ` ${item.platform}`)))) : null,
    found.suppressed ? el("div", { class: "soft small" }, `not posted: ${found.suppressed}`) : found.queued ? el("div", { class: "soft small" }, "waits for the next digest: quiet hours") : null);
}

// Items by hour, as bars that a screen reader hears as one sentence.
function bars(values, says) {
  const most = Math.max(1, ...values);
  return el("svg", { class: "bars", viewBox: `0 0 ${values.length * 6} 20`, role: "img", "aria-label": says },
    values.map((n, i) => el("rect", { x: i * 6, y: 20 - (n / most) * 20, width: 5, height: (n / most) * 20 })));
}

const HOUR = 3_600_000, HOURS = 24;

function hours(story) {
  const last = Math.floor(Date.parse(story.last_seen) / HOUR);
  const values = Array(HOURS).fill(0);
  for (const hour of story.timeline) {
    const at = HOURS - 1 - (last - Math.floor(Date.parse(hour.start) / HOUR));
    if (at >= 0) values[at] += hour.items;
  }
  return values;
}

function story(found) {
  const told = found.representative.split(":", 1)[0];
  const also = found.platforms.filter((place) => place.platform !== told).map((place) => el("span", {}, " ", outside(place.url, place.platform), ` (${count(place.items)})`));
  return el("li", {},
    el("div", { class: "text" }, outside(found.url, found.title)),
    el("div", { class: "soft small" }, `${count(found.items)} items by ${count(found.authors)} authors · first on ${found.first_seen.platform} `, when(found.first_seen.at),
      " · last ", when(found.last_seen), ` · ${count(found.velocity_per_hour)} in its last hour · mood `, mood(found.compound_mean)),
    also.length ? el("div", { class: "small" }, "also on", also) : null,
    bars(hours(found), `items by hour, ${count(found.items)} in all`),
    el("div", { class: "soft small text" }, found.why, found.split ? " · a part of something larger" : ""));
}

function trend(found) {
  const rising = found.state === "rising";
  return el("li", {},
    el("div", {}, el("strong", { class: "text" }, found.subject.name), el("span", { class: "soft" }, ` · ${found.subject.kind} · `), el("span", { class: rising ? "good" : "soft" }, rising ? "rising" : "over"), el("span", { class: "soft" }, " since ", when(found.since), ` · score ${found.score.toFixed(1)}`)),
    bars(found.buckets.map((bucket) => bucket.items), `items by ten minutes, ${count(found.items)} in all`),
    el("div", { class: "small text" }, found.why),
    found.examples?.length ? el("ul", { class: "plain small" }, found.examples.map((item) => el("li", { class: "text" }, outside(item.url, item.title ?? item.id), el("span", { class: "soft" }, ` ${item.platform}`)))) : null);
}

const list = (answer, items, draw, because) => answer.refused ? nothing(answer.refused) : (items.length ? el("ul", { class: "plain" }, items.map(draw)) : nothing(because));

// On most platforms first, of these the newest; they come with the newest activity first.
const spread = (stories) => stories?.filter((found) => !found.merged_into).sort((a, b) => b.platforms.length - a.platforms.length).slice(0, STORIES);

export function happening({ alerts, stories, trends }, because) {
  return [
    card("Alerts", list(alerts, alerts.items, alert, `no alert yet, because ${because("no rule of alerts.toml found what it looks for")}`)),
    el("div", { class: "columns" },
      card("Stories", list(stories, spread(stories.stories), story, `no story yet, because ${because("no two authors or platforms have published the same thing in three days")}`)),
      card("Trends", list(trends, trends.trends, trend, `no trend yet, because ${because("nothing was mentioned much more often than usual; what is usual takes hours to learn")}`))),
  ];
}
