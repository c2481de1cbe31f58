// What cards, jobs and the pool use: remembered for some minutes, and drawn.
//
// The pool remembers the last minutes too, so that a page that was just opened, or was hidden, asks
// for them once and has no gap.

import { cardsOf, element, memory, percent, poolNow } from "/elements.js";

const CHART_MS = 5 * 60_000;
// Two readings that are further apart have a gap between them that no line may hide.
const GAP_MS = 15_000;
const WIDTH = 300;
const HEIGHT = 40;

/** Use of things over the last minutes, by their names. */
class History {
  constructor() {
    this.samples = new Map();
  }

  /** Takes in what was read, old and new, in any order. */
  add(name, uses) {
    const oldest = poolNow() - CHART_MS - GAP_MS;
    const known = new Map();
    for (const use of [...this.of(name), ...uses]) if (use) known.set(use.at_ms, use);
    const kept = [...known.values()].filter((use) => use.at_ms > oldest);
    if (kept.length > 0)
      this.samples.set(
        name,
        kept.sort((a, b) => a.at_ms - b.at_ms),
      );
  }

  of(name) {
    return this.samples.get(name) ?? [];
  }

  /** Whether readings are missing since the last one, or there is none. */
  isBehind(name) {
    return !(this.of(name).at(-1)?.at_ms > poolNow() - GAP_MS);
  }

  /** Forgets what was not seen for as long as a chart lasts. */
  prune() {
    for (const [name, samples] of this.samples) {
      if (samples.at(-1).at_ms < poolNow() - CHART_MS) this.samples.delete(name);
    }
  }
}

const pools = new History();
const cards = new History();
const jobs = new History();

/** Remembers what was shown of the pool. */
export function notePool(pool) {
  pools.add("", [...(pool.history ?? []), pool.usage]);
  [pools, cards, jobs].forEach((history) => history.prune());
}

/** Whether the pool's last minutes are not known. */
export function isPoolBehind() {
  return pools.isBehind("");
}

/** Remembers what was shown of a card. */
export function noteCard(card) {
  cards.add(card.id, [...(card.history ?? []), card.usage]);
}

/** Whether a card that says what it does has minutes that are not known. */
export function isCardBehind(card) {
  return card.usage !== undefined && cards.isBehind(card.id);
}

/** Remembers what was shown of a job. */
export function noteJob(job) {
  jobs.add(job.id, [...(job.history ?? []), job.usage]);
}

/** Whether a job's last minutes are not known. */
export function isJobBehind(id) {
  return jobs.isBehind(id);
}

/** A chart of a card's use. */
export function cardChart(card) {
  return chart(cards.of(card.id), { compute: 1000, memory: card.memory_mib });
}

/** A chart of a job's use; what it may reach is the whole height. */
export function jobChart(job) {
  const slices = job.members.flatMap((member) => member.slices);
  const sum = (key) => slices.reduce((total, slice) => total + slice[key], 0);
  return chart(jobs.of(job.id), {
    compute: Math.max(1, sum("compute_limit_per_mille")),
    memory: Math.max(1, sum("memory_limit_mib")),
  });
}

/** What all cards use together: two charts, each as high as the pool. */
export function useSection(pool) {
  const { capacity, used: kept } = pool;
  const now = pools.of("").at(-1);
  const figure = ({ name, key, whole, kept, say }) =>
    element(
      "figure",
      { class: "total" },
      element(
        "figcaption",
        {},
        element("b", {}, name),
        ` ${now ? say(now[key]) : "–"} in use, ${say(kept)} kept, of ${say(whole)}`,
      ),
      drawing(
        `${name} in use over the last 5 minutes, now ${now ? share(now[key], whole) : "unknown"}; kept ${share(kept, whole)}`,
        [
          area(pools.of(""), (use) => use[key] / Math.max(1, whole)),
          line("used", pools.of(""), (use) => use[key] / Math.max(1, whole)),
          level(kept / Math.max(1, whole)),
        ],
      ),
      element(
        "p",
        { class: "axis", "aria-hidden": "true" },
        element("span", {}, "5 min ago"),
        element("span", { class: "key" }, "dashed: kept for jobs"),
        element("span", {}, "now"),
      ),
    );
  return [
    element("h2", { id: "use-title" }, "Use"),
    element(
      "div",
      { class: "totals" },
      figure({
        name: "Compute",
        key: "compute_per_mille",
        whole: capacity.compute_milli,
        kept: kept.compute_milli,
        say: cardsOf,
      }),
      figure({
        name: "Memory",
        key: "memory_mib",
        whole: capacity.memory_mib,
        kept: kept.memory_mib,
        say: memory,
      }),
    ),
  ];
}

function chart(samples, full) {
  const last = samples.at(-1);
  const words = last
    ? `compute ${share(last.compute_per_mille, full.compute)}, memory ${share(last.memory_mib, full.memory)}`
    : "nothing is known yet";
  return drawing(
    `Use over the last 5 minutes, now ${words}`,
    [
      line("compute", samples, (sample) => sample.compute_per_mille / full.compute),
      line("memory", samples, (sample) => sample.memory_mib / full.memory),
    ],
    `the last 5 minutes: compute solid, memory dashed; now ${words}`,
  );
}

function drawing(label, lines, title = label) {
  return element(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    element("title", {}, title),
    element("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
    lines,
  );
}

function line(name, samples, value) {
  const points = runs(samples, value).map((run) => `M${run.map(([x, y]) => `${x} ${y}`).join("L")}`);
  return path(name, points.join(""));
}

/** What lies below a line. */
function area(samples, value) {
  const shapes = runs(samples, value).map((run) => {
    const [first, last] = [run[0][0], run.at(-1)[0]];
    return `M${first} ${HEIGHT}L${run.map(([x, y]) => `${x} ${y}`).join("L")}L${last} ${HEIGHT}Z`;
  });
  return path("area", shapes.join(""));
}

/** A height that has no history. */
function level(value) {
  return path("level", `M0 ${heightOf(value)}H${WIDTH}`);
}

function path(name, d) {
  return element("path", { class: name, d, "vector-effect": "non-scaling-stroke" });
}

/** Points of the chart, in runs without a gap. */
function runs(samples, value) {
  const end = poolNow();
  const all = [];
  let before;
  for (const sample of samples) {
    const x = Math.max(0, WIDTH - (WIDTH * (end - sample.at_ms)) / CHART_MS);
    const point = [Math.min(WIDTH, x).toFixed(1), heightOf(value(sample))];
    if (before !== undefined && sample.at_ms - before < GAP_MS) all.at(-1).push(point);
    else all.push([point]);
    before = sample.at_ms;
  }
  return all;
}

function heightOf(value) {
  return (HEIGHT - 2 - (HEIGHT - 4) * Math.min(1, value)).toFixed(1);
}

function share(part, whole) {
  return `${Math.round(percent(part, whole))}%`;
}
