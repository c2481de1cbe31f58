// What the pool has and who holds it: the glance in the header, and cards with their slices and
// charts of what is in use.

import { get } from "/connection.js";
import {
  count,
  element,
  facts,
  fill,
  jobLink,
  lasting,
  look,
  memory,
  percent,
  poolNow,
  share,
  tenantLink,
} from "/elements.js";
import { queue } from "/jobs.js";

const CARDS_AS_BARS = 24;
const CARDS_AS_TILES = 240;
const WAITING_SHOWN = 10;
const CHART_MS = 5 * 60_000;
// Two refreshes that are further apart have a gap between them that no line may hide.
const CHART_GAP_MS = 15_000;
// Lines below a bar that show how far its slices may reach; more slices share lines.
const LANES = 3;
const STATES = ["queued", "starting", "running", "stopping", "ended"];

/** The header's figures. */
export function glance(pool) {
  const { capacity, used, jobs, savings } = pool;
  const others = Object.keys(jobs).filter((state) => !STATES.includes(state));
  const states = [...STATES.filter((state) => jobs[state] > 0), ...others];
  return [
    element(
      "p",
      { class: "figure" },
      element("b", {}, count(pool.cards, "card")),
      ` on ${count(pool.nodes, "node")}`,
    ),
    keptFigure(
      "Compute kept",
      share(Math.round((1000 * used.compute_milli) / Math.max(1, capacity.compute_milli))),
      used.compute_milli,
      capacity.compute_milli,
    ),
    keptFigure(
      "Memory kept",
      `${memory(used.memory_mib)} of ${memory(capacity.memory_mib)}`,
      used.memory_mib,
      capacity.memory_mib,
    ),
    element(
      "ul",
      { class: "states", "aria-label": "Jobs by state" },
      states.map((state) =>
        element(
          "li",
          {},
          element(
            "a",
            { href: `#/jobs?state=${state}`, class: `state ${state}` },
            `${jobs[state].toLocaleString("en")} ${state}`,
          ),
        ),
      ),
    ),
    element("p", { class: "savings", id: "savings" }, savingsSentence(savings)),
  ];
}

/** The line at the end of every page. */
export function colophon(pool) {
  return [`Cotenant ${pool.version}, up `, lasting(pool.started_ms)];
}

function keptFigure(name, words, part, whole) {
  const bar = element(
    "span",
    { class: "gauge", "aria-hidden": "true" },
    element("span", { class: "fill", place: { width: percent(part, whole) } }),
  );
  return element("p", { class: "figure" }, `${name} `, element("b", {}, words), bar);
}

function savingsSentence({ jobs, cards_alone: alone, cards_held: held }) {
  if (jobs === 0) return "No job holds a card.";
  if (jobs === 1) return `This job would hold ${count(alone, "card")}; it holds ${held}.`;
  return `These ${count(jobs, "job")} would hold ${count(alone, "card")}; they hold ${held}.`;
}

/** Use of a thing over the last minutes, kept while the page is open. */
class History {
  constructor() {
    this.samples = new Map();
  }

  add(name, use) {
    if (!use) return;
    const kept = (this.samples.get(name) ?? []).filter(
      (sample) => sample.at_ms > poolNow() - CHART_MS - CHART_GAP_MS,
    );
    if (kept.at(-1)?.at_ms !== use.at_ms) kept.push(use);
    this.samples.set(name, kept);
  }

  /** Forgets what was not seen for as long as a chart lasts. */
  prune() {
    for (const [name, samples] of this.samples) {
      if (samples.at(-1).at_ms < poolNow() - CHART_MS) this.samples.delete(name);
    }
  }
}

const cardHistory = new History();
const jobHistory = new History();

/** A chart of a job's use; what it has is the whole height. */
export function jobChart(job) {
  jobHistory.add(job.id, job.usage);
  jobHistory.prune();
  const slices = job.members.flatMap((member) => member.slices);
  const sum = (key) => slices.reduce((total, slice) => total + slice[key], 0);
  return chart(jobHistory.samples.get(job.id) ?? [], {
    compute: Math.max(1, sum("compute_limit_per_mille")),
    memory: Math.max(1, sum("memory_limit_mib")),
  });
}

function chart(samples, full) {
  const last = samples.at(-1);
  const words = last
    ? `compute ${short(last.compute_per_mille, full.compute)}, memory ${short(last.memory_mib, full.memory)}`
    : "nothing is known yet";
  const line = (name, value) =>
    element("path", {
      class: name,
      d: tracePath(samples, value),
      "vector-effect": "non-scaling-stroke",
    });
  return element(
    "svg",
    {
      class: "chart",
      viewBox: "0 0 300 40",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `Use over the last 5 minutes, now ${words}`,
    },
    element("title", {}, `the last 5 minutes: compute solid, memory dashed; now ${words}`),
    element("line", { class: "ground", x1: 0, x2: 300, y1: 39.5, y2: 39.5 }),
    line("compute", (sample) => sample.compute_per_mille / full.compute),
    line("memory", (sample) => sample.memory_mib / full.memory),
  );
}

function short(part, whole) {
  return `${Math.round(percent(part, whole))}%`;
}

function tracePath(samples, value) {
  const end = poolNow();
  let before;
  return samples
    .map((sample) => {
      const x = Math.max(0, 300 - (300 * (end - sample.at_ms)) / CHART_MS);
      const y = 38 - 36 * Math.min(1, value(sample));
      const joins = before !== undefined && sample.at_ms - before < CHART_GAP_MS;
      before = sample.at_ms;
      return `${joins ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}

/** The first page: cards and the head of the queue. */
export class PoolPage {
  title = "Pool";
  followsUse = true;

  constructor(main) {
    this.view = undefined;
    this.pages = [undefined];
    this.cards = element("section", { "aria-labelledby": "cards-title" });
    this.queue = element("section", { "aria-labelledby": "queue-title" });
    main.replaceChildren(
      element("h1", { tabindex: -1 }, "Pool"),
      element("div", { class: "pool" }, this.cards, this.queue),
    );
  }

  isAbout() {
    return true;
  }

  async load() {
    const [cards, waiting] = await Promise.all([
      this.loadCards(),
      get("/v1/jobs", { state: "queued", limit: WAITING_SHOWN }),
    ]);
    return { cards, waiting };
  }

  async loadCards() {
    const limit = this.view === "tiles" ? CARDS_AS_TILES : CARDS_AS_BARS;
    const page = await get("/v1/cards", { limit, after: this.pages.at(-1) });
    if (this.view === undefined) {
      this.view = page.total > 2 * CARDS_AS_BARS ? "tiles" : "bars";
      if (this.view === "tiles") return this.loadCards();
    }
    page.cards.forEach((card) => cardHistory.add(card.id, card.usage));
    cardHistory.prune();
    return page;
  }

  show({ cards, waiting }, pool) {
    this.showCards(cards);
    fill(
      this.queue,
      element("h2", { id: "queue-title" }, "Queue"),
      queue(
        waiting,
        Object.values(pool.jobs).every((number) => number === 0),
      ),
    );
  }

  showCards(page) {
    fill(
      this.cards,
      element(
        "div",
        { class: "heading" },
        element("h2", { id: "cards-title" }, "Cards"),
        this.viewChoice(),
      ),
      page.total === 0
        ? element(
            "p",
            { class: "empty" },
            "No card yet. The daemon looks for cards when it starts: see cotenant up --help.",
          )
        : [
            legend(this.view),
            nodesOf(page.cards).map((node) => this.node(node)),
            this.paging(page),
          ],
    );
    showCardDetail(page.cards);
  }

  viewChoice() {
    const choice = (view, words) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(this.view === view),
          onclick: () => this.choose(view),
        },
        words,
      );
    return element(
      "div",
      { class: "choice", role: "group", "aria-label": "How cards are shown" },
      choice("bars", "Bars"),
      choice("tiles", "Tiles"),
    );
  }

  choose(view) {
    this.view = view;
    this.pages = [undefined];
    this.refresh();
  }

  node({ name, rack, cards }) {
    const shown = cards.map((card) => (this.view === "tiles" ? tile(card) : cardArticle(card)));
    return element(
      "section",
      { key: name, class: "node", "aria-label": `Node ${name}` },
      element(
        "h3",
        {},
        name,
        element("small", {}, rack ? `rack ${rack}, ` : "", count(cards.length, "card")),
      ),
      element("div", { class: this.view }, shown),
    );
  }

  paging(page) {
    const before = this.pages.length > 1;
    if (!before && page.next_after === undefined) return false;
    const size = this.view === "tiles" ? CARDS_AS_TILES : CARDS_AS_BARS;
    const first = (this.pages.length - 1) * size + 1;
    const turn = (change) => () => {
      change();
      this.refresh();
    };
    return element(
      "p",
      { class: "paging" },
      element(
        "button",
        { type: "button", disabled: !before, onclick: turn(() => this.pages.pop()) },
        "Previous cards",
      ),
      element(
        "span",
        {},
        `${first.toLocaleString("en")} to ${(first + page.cards.length - 1).toLocaleString("en")} of ${count(page.total, "card")}`,
      ),
      element(
        "button",
        {
          type: "button",
          disabled: page.next_after === undefined,
          onclick: turn(() => this.pages.push(page.next_after)),
        },
        "Next cards",
      ),
    );
  }
}

function legend(view) {
  const mark = (kind, words) =>
    element("span", {}, element("span", { class: `mark mark-${kind}` }), words);
  return element(
    "p",
    { class: "legend", "aria-hidden": "true" },
    mark("kept", "kept for a job"),
    view === "bars" && mark("reach", "may reach"),
    mark("use", "in use now"),
  );
}

function nodesOf(cards) {
  const nodes = new Map();
  for (const card of cards) {
    if (!nodes.has(card.node))
      nodes.set(card.node, { name: card.node, rack: card.rack, cards: [] });
    nodes.get(card.node).cards.push(card);
  }
  return [...nodes.values()];
}

/** A card's two scales: what each slice has of it, and what is in use. */
function scales(card) {
  return [
    {
      name: "Memory",
      whole: card.memory_mib,
      kept: "memory_mib",
      limit: "memory_limit_mib",
      say: memory,
    },
    {
      name: "Compute",
      whole: 1000,
      kept: "compute_per_mille",
      limit: "compute_limit_per_mille",
      say: share,
    },
  ].map((scale) => ({
    ...scale,
    total: card.slices.reduce((sum, slice) => sum + slice[scale.kept], 0),
    use: card.usage?.[scale.kept],
  }));
}

function cardArticle(card) {
  const about = [
    card.model,
    memory(card.memory_mib),
    card.cores > 0 && count(card.cores, "core"),
    card.rungs.join(", "),
  ];
  return element(
    "article",
    { key: card.id, class: "card", "aria-label": `Card ${card.id}` },
    element("h4", {}, `Card ${card.index} `, element("small", {}, card.id), health(card)),
    element("p", { class: "about" }, about.filter(Boolean).join(" · ")),
    scales(card).map((scale) => scaleRow(card, scale)),
    element(
      "div",
      { class: "live" },
      chart(cardHistory.samples.get(card.id) ?? [], { compute: 1000, memory: card.memory_mib }),
      liveWords(card.usage),
    ),
    sliceList(card),
  );
}

function health({ health: state }) {
  return state === "ok" ? false : element("span", { class: "health" }, state);
}

function liveWords(usage) {
  const { temperature_c: temperature, power_mw: power } = usage ?? {};
  const words = [
    temperature !== undefined && `${temperature} °C`,
    power !== undefined && `${Math.round(power / 1000)} W`,
  ];
  return element(
    "p",
    { class: "about" },
    usage ? words.filter(Boolean).join(" · ") : "use unknown",
  );
}

function scaleRow(card, scale) {
  const { name, whole, total, use, say } = scale;
  const words = `${say(total)} of ${say(whole)} kept${use === undefined ? "" : `, ${say(use)} in use`}`;
  return element(
    "div",
    { class: "scale" },
    element("span", { class: "name" }, name),
    element("div", { class: "track" }, segments(card, scale), useMark(scale)),
    element("span", { class: "words" }, words),
  );
}

function segments(card, { whole, kept, limit, say }) {
  let left = 0;
  let lanes = 0;
  return card.slices.map((slice) => {
    const start = left;
    const width = percent(slice[kept], whole);
    left += width;
    const reach = Math.min(100 - start, percent(slice[limit], whole));
    const title = `${slice.tenant}, job ${slice.job}: ${say(slice[kept])} kept, up to ${say(slice[limit])}`;
    return [
      element(
        "a",
        {
          key: `${slice.job}`,
          class: `segment ${look(slice.tenant)}`,
          href: `#/jobs/${slice.job}`,
          title,
          tabindex: -1,
          "aria-hidden": "true",
          place: { left: start, width },
        },
        slice.tenant,
      ),
      slice[limit] > slice[kept] &&
        element("span", {
          key: `${slice.job} reach`,
          class: `reach lane-${lanes++ % LANES} ${look(slice.tenant)}`,
          place: { left: start, width: reach },
        }),
    ];
  });
}

function useMark({ use, whole, say }) {
  return (
    use !== undefined &&
    element("span", {
      class: "use",
      title: `${say(use)} in use now`,
      place: { left: percent(use, whole) },
    })
  );
}

function sliceList(card) {
  if (card.slices.length === 0)
    return element("p", { class: "about" }, "Nobody holds a slice of it.");
  return element(
    "ul",
    { class: "slices", "aria-label": "Slices" },
    card.slices.map((slice) =>
      element(
        "li",
        { key: slice.job },
        tenantLink(slice.tenant),
        jobLink(slice.job),
        sliceAmounts(slice),
      ),
    ),
  );
}

/** What a slice has, in words. */
function sliceAmounts(slice) {
  const upTo = (kept, limit, say) =>
    limit > kept ? `${say(kept)} up to ${say(limit)}` : say(kept);
  const words = [
    slice.whole && "whole card",
    upTo(slice.memory_mib, slice.memory_limit_mib, memory),
    upTo(slice.compute_per_mille, slice.compute_limit_per_mille, share),
    slice.mig,
    `held by ${slice.enforced_by}`,
  ];
  return element("span", { class: "amounts" }, words.filter(Boolean).join(" · "));
}

let openCard;

function tile(card) {
  const shown = scales(card);
  const words = shown.map(
    ({ name, whole, total, use, say }) =>
      `${name} ${say(total)} of ${say(whole)} kept${use === undefined ? "" : `, ${say(use)} in use`}`,
  );
  const open = () => {
    openCard = card.id;
    showCardDetail([card]);
    document.getElementById("card-dialog").showModal();
  };
  return element(
    "button",
    {
      key: card.id,
      type: "button",
      class: "tile",
      title: `${card.id}\n${words.join("\n")}`,
      "aria-label": `Card ${card.id}: ${words.join("; ")}`,
      onclick: open,
    },
    element("span", { class: "number" }, String(card.index), health(card)),
    shown.map((scale) =>
      element("span", { class: "track" }, tileSegments(card, scale), useMark(scale)),
    ),
  );
}

function tileSegments(card, { whole, kept }) {
  let left = 0;
  return card.slices.map((slice) => {
    const start = left;
    const width = percent(slice[kept], whole);
    left += width;
    return element("span", {
      class: `segment ${look(slice.tenant)}`,
      place: { left: start, width },
    });
  });
}

function showCardDetail(cards) {
  const card = cards.find(({ id }) => id === openCard);
  if (card)
    fill(
      document.getElementById("card-detail"),
      element("p", { class: "about" }, `Node ${card.node}`),
      cardArticle(card),
    );
}

/** What a job holds, member by member. */
export function placement(job) {
  if (job.members.length === 0) return element("p", { class: "about" }, "It holds nothing.");
  return job.members.map((member, index) =>
    element(
      "div",
      { class: "member" },
      element(
        "h3",
        {},
        job.members.length > 1 ? `Member ${index} on ${member.node}` : `On ${member.node}`,
      ),
      element(
        "ul",
        { class: "slices" },
        member.slices.map((slice) =>
          element("li", {}, element("b", {}, slice.card), sliceAmounts(slice)),
        ),
      ),
    ),
  );
}

/** A job's use in words. */
export function jobUse({ usage }) {
  return facts([
    ["Compute in use", share(usage.compute_per_mille)],
    ["Memory in use", memory(usage.memory_mib)],
  ]);
}
