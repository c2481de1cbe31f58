// What the pool has and who holds it: the glance in the header, and cards with their slices.

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
  share,
  tenantLink,
} from "/elements.js";
import { queue } from "/jobs.js";
import { cardChart, isCardBehind, noteCard, useSection } from "/use.js";

const CARDS_AS_BARS = 24;
const CARDS_AS_TILES = 240;
const WAITING_SHOWN = 10;
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

/** The first page: cards and the head of the queue. */
export class PoolPage {
  title = "Pool";
  followsUse = true;

  constructor(main) {
    this.view = undefined;
    this.pages = [undefined];
    this.use = element("section", { "aria-labelledby": "use-title" });
    this.cards = element("section", { "aria-labelledby": "cards-title" });
    this.queue = element("section", { "aria-labelledby": "queue-title" });
    main.replaceChildren(
      element("h1", { tabindex: -1 }, "Pool"),
      element("div", { class: "pool" }, element("div", {}, this.use, this.cards), this.queue),
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
    // Cards that came into view, or were out of it, are asked for what they did meanwhile.
    const isBehind = this.known?.some(isCardBehind) ?? true;
    const history = isBehind ? true : undefined;
    const page = await get("/v1/cards", { limit, after: this.pages.at(-1), history });
    if (this.view === undefined) {
      this.view = page.total > 2 * CARDS_AS_BARS ? "tiles" : "bars";
      if (this.view === "tiles") return this.loadCards();
    }
    page.cards.forEach(noteCard);
    this.known = page.cards;
    return page;
  }

  show({ cards, waiting }, pool) {
    fill(this.use, useSection(pool));
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
    this.known = undefined;
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
      this.known = undefined;
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
    view === "bars" && mark("slice", "in use by a job"),
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
      cardChart(card),
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
      slice.usage &&
        element("span", {
          key: `${slice.job} use`,
          class: `slice-use ${look(slice.tenant)}`,
          place: { left: start, width: Math.min(100 - start, percent(slice.usage[kept], whole)) },
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
    slice.usage &&
      `uses ${memory(slice.usage.memory_mib)} and ${share(slice.usage.compute_per_mille)}`,
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
