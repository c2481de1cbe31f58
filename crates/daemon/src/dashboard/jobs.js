// Lists of jobs: the queue with its reasons, and all jobs with filters, a hundred at a time.

import { get } from "/connection.js";
import { count, duration, element, fill, lasting, lazy, tenantLink, time } from "/elements.js";

const PAGE = 100;
// Rows that are shown at a time; a list that goes on begins anew below the last of them.
const ROWS_MAX = 1000;
// The pool knows no search for words, so that as many jobs are read as a search looks through.
const SEARCHED_AT_ONCE = 1000;
const SEARCHED_MAX = 20_000;
const STATES = ["queued", "starting", "running", "stopping", "ended"];
const GOOD_OUTCOMES = ["succeeded"];

/** Where a job is in its life, or how it ended. */
export function stateBadge({ state, outcome }) {
  const words = state === "ended" && outcome ? outcome : state;
  const kind =
    state === "ended"
      ? GOOD_OUTCOMES.includes(outcome)
        ? "ended good"
        : outcome === "cancelled"
          ? "ended"
          : "ended bad"
      : state;
  return element("span", { class: `state ${kind}` }, words);
}

function lasted({ started_ms: started, ended_ms: ended }) {
  if (started === undefined) return "";
  return ended === undefined ? lasting(started) : duration(ended - started);
}

/** Why a pool shows no job, and what to do about it. */
function noJobYet() {
  return element(
    "p",
    { class: "empty" },
    "No job yet. ",
    element("a", { href: "#/submit" }, "Submit one here"),
    ", or: ",
    element("code", {}, "cotenant job submit -- PROGRAM"),
  );
}

/** The newest jobs that wait, each with its reason. */
export function queue(page, isPoolEmpty) {
  if (isPoolEmpty) return noJobYet();
  if (page.total === 0) return element("p", { class: "empty" }, "No job waits.");
  const item = (job) =>
    element(
      "li",
      {},
      element(
        "p",
        {},
        nameLink(job),
        tenantLink(job.tenant),
        element(
          "span",
          { class: "about" },
          `asks for ${job.asks} · has waited for `,
          lasting(job.submitted_ms),
        ),
      ),
      element("p", { class: "reason" }, job.waits ?? "The pool has not looked at it yet."),
    );
  return [
    element(
      "ul",
      { class: "queue" },
      page.jobs.map((job) => keyed(job, item(job))),
    ),
    page.total > page.jobs.length &&
      element(
        "p",
        {},
        element("a", { href: "#/jobs?state=queued" }, `All ${count(page.total, "waiting job")}`),
      ),
  ];
}

function keyed(job, made) {
  made.key = String(job.id);
  return made;
}

function nameLink(job) {
  return element(
    "a",
    { class: "job", href: `#/jobs/${job.id}` },
    element("span", { class: "number" }, String(job.id)),
    element("span", { class: "name" }, job.name),
  );
}

/** Every job, filtered and paged. */
export class JobsPage {
  title = "Jobs";
  followsUse = false;

  constructor(main, query) {
    this.before = Number(query.get("before")) || undefined;
    this.wanted = PAGE;
    this.tenant = choice("tenant", "Tenant", query.get("tenant") ?? "", () => this.filtered());
    this.state = choice("state", "State", query.get("state") ?? "", () => this.filtered());
    this.text = element("input", {
      id: "filter",
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "name, tenant, reason …",
      oninput: () => this.typed(),
    });
    this.text.value = query.get("text") ?? "";
    this.offer([], STATES);
    this.status = element("p", { id: "jobs-status", role: "status" });
    this.table = element("table", { "aria-labelledby": "jobs-title" }, header());
    this.rows = element("tbody", {});
    this.table.append(this.rows);
    this.foot = element("div", {});
    main.replaceChildren(
      element("h1", { tabindex: -1, id: "jobs-title" }, "Jobs"),
      element(
        "form",
        { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
        element("p", {}, element("label", { for: "tenant" }, "Tenant"), this.tenant),
        element("p", {}, element("label", { for: "state" }, "State"), this.state),
        element(
          "p",
          { class: "wide" },
          element(
            "label",
            { for: "filter" },
            "Text ",
            element("kbd", { "aria-hidden": "true" }, "/"),
          ),
          this.text,
        ),
      ),
      this.status,
      this.table,
      this.foot,
    );
  }

  isAbout() {
    return true;
  }

  dispose() {
    clearTimeout(this.typing);
  }

  offer(tenants, states) {
    const options = (select, any, values) => {
      const chosen = select.value || (select.dataset.first ?? "");
      const all = chosen && !values.includes(chosen) ? [...values, chosen] : values;
      fill(
        select,
        element("option", { value: "" }, any),
        all.map((value) => element("option", { value, key: value }, value)),
      );
      if (select.value !== chosen) select.value = chosen;
    };
    options(this.tenant, "all tenants", tenants);
    options(this.state, "all states", states);
    delete this.tenant.dataset.first;
    delete this.state.dataset.first;
  }

  typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.filtered(), 200);
  }

  filtered() {
    this.before = undefined;
    this.wanted = PAGE;
    // The address holds the filter, so that a reload or a shared link shows the same.
    const query = new URLSearchParams(Object.entries(this.filter()).filter(([, value]) => value));
    history.replaceState(null, "", query.size > 0 ? `#/jobs?${query}` : "#/jobs");
    this.refresh();
  }

  filter() {
    return {
      tenant: this.tenant.value,
      state: this.state.value,
      text: this.text.value.trim().toLowerCase(),
    };
  }

  async load() {
    const filter = this.filter();
    const [tenants, page] = await Promise.all([
      get("/v1/tenants"),
      filter.text ? this.search(filter) : this.list(filter),
    ]);
    return { tenants: tenants.tenants.map(({ name }) => name), page, filter };
  }

  list({ tenant, state }) {
    return get("/v1/jobs", { tenant, state, before: this.before, limit: this.wanted });
  }

  /** As many jobs as are wanted whose words hold the text, and how many were looked at. */
  async search({ tenant, state, text }) {
    const found = [];
    let looked = 0;
    let before = this.before;
    for (;;) {
      const page = await get("/v1/jobs", { tenant, state, before, limit: SEARCHED_AT_ONCE });
      looked += page.jobs.length;
      found.push(...page.jobs.filter((job) => holds(job, text)));
      before = page.next_before;
      if (before === undefined || found.length > this.wanted || looked >= SEARCHED_MAX) {
        const jobs = found.slice(0, this.wanted);
        const next = found.length > this.wanted ? jobs.at(-1).id : before;
        return { jobs, total: page.total, looked, next_before: next };
      }
    }
  }

  show({ tenants, page, filter }) {
    this.offer(tenants, STATES);
    this.table.hidden = page.jobs.length === 0;
    fill(this.status, found(page));
    fill(
      this.rows,
      page.jobs.map((job) => lazy(job.id, JSON.stringify(job), () => row(job))),
    );
    fill(this.foot, this.empty(page, filter), this.more(page, filter));
  }

  empty({ jobs }, { tenant, state, text }) {
    if (jobs.length > 0) return false;
    if (!tenant && !state && !text)
      return this.before === undefined
        ? noJobYet()
        : element("p", { class: "empty" }, "No older job.");
    const clear = () => {
      this.tenant.value = this.state.value = this.text.value = "";
      this.filtered();
    };
    return element(
      "p",
      { class: "empty" },
      "No job is like that. ",
      element("button", { type: "button", onclick: clear }, "Show all jobs"),
    );
  }

  more({ jobs, next_before: next }, filter) {
    const newest =
      this.before !== undefined &&
      element("a", { href: address(filter, undefined) }, "Back to the newest");
    const next100 = () => {
      this.wanted += PAGE;
      this.refresh();
    };
    const more =
      next === undefined
        ? false
        : jobs.length < ROWS_MAX && this.wanted < ROWS_MAX
          ? element("button", { type: "button", id: "more", onclick: next100 }, "More jobs")
          : element("a", { href: address(filter, next) }, `Go on below job ${next}`);
    return (newest || more) && element("p", { class: "paging" }, newest, more);
  }
}

function choice(id, label, first, onchange) {
  return element("select", { id, "data-first": first, onchange });
}

function address(filter, before) {
  const given = Object.entries({ ...filter, before }).filter(([, value]) => value);
  return `#/jobs?${new URLSearchParams(given)}`;
}

function holds(job, text) {
  const words = [
    job.id,
    job.name,
    job.tenant,
    job.kind,
    job.class,
    job.asks,
    job.waits,
    job.outcome,
  ];
  return words.some((word) => word !== undefined && String(word).toLowerCase().includes(text));
}

function found({ jobs, total, looked, next_before: next }) {
  if (looked !== undefined)
    return `${count(jobs.length, "job")} shown, ${looked.toLocaleString("en")} of ${count(total, "job")} looked at`;
  return next === undefined && jobs.length === total
    ? count(total, "job")
    : `${jobs.length.toLocaleString("en")} of ${count(total, "job")} shown, the newest first`;
}

const COLUMNS = ["Job", "Tenant", "State", "Asks for", "Waits for", "Submitted", "Ran"];

function header() {
  return element(
    "thead",
    {},
    element(
      "tr",
      {},
      COLUMNS.map((name) => element("th", { scope: "col" }, name)),
    ),
  );
}

function row(job) {
  const cells = [
    nameLink(job),
    tenantLink(job.tenant),
    stateBadge(job),
    job.asks,
    job.waits ?? "",
    time(job.submitted_ms),
    lasted(job),
  ];
  return element(
    "tr",
    {},
    cells.map((cell, index) =>
      element("td", { "data-label": COLUMNS[index], class: cell === "" ? "none" : false }, cell),
    ),
  );
}
