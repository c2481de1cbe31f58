// Tenants: what each has first, the most it may hold, and what it holds.

import { get } from "/connection.js";
import { cardsOf, element, fill, lazy, look, memory, percent, tenantLink } from "/elements.js";

const TENANTS_SHOWN = 100;

/** Every tenant, each below its parent. */
export class TenantsPage {
  title = "Tenants";
  followsUse = false;

  constructor(main) {
    this.shown = TENANTS_SHOWN;
    this.filter = element("input", {
      id: "filter",
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.showAgain(),
    });
    this.items = element("ul", { class: "tenants" });
    this.foot = element("div", {});
    main.replaceChildren(
      element("h1", { tabindex: -1 }, "Tenants"),
      element(
        "form",
        { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
        element(
          "p",
          {},
          element(
            "label",
            { for: "filter" },
            "Name has ",
            element("kbd", { "aria-hidden": "true" }, "/"),
          ),
          this.filter,
        ),
        element(
          "p",
          { class: "help" },
          "A bar is as long as the limit, or as the pool where there is none; dashed: what is guaranteed.",
        ),
      ),
      this.items,
      this.foot,
    );
  }

  isAbout() {
    return true;
  }

  load() {
    return get("/v1/tenants");
  }

  show({ tenants }, pool) {
    this.tenants = tenants;
    this.pool = pool;
    this.showAgain();
  }

  showAgain() {
    if (!this.tenants) return;
    const text = this.filter.value.trim().toLowerCase();
    const found = family(this.tenants).filter(({ tenant }) => tenant.name.includes(text));
    const more = () => {
      this.shown += TENANTS_SHOWN;
      this.showAgain();
    };
    fill(
      this.items,
      found
        .slice(0, this.shown)
        .map(({ tenant, depth }) =>
          lazy(tenant.name, JSON.stringify([tenant, depth, this.pool.capacity]), () =>
            tenantItem(tenant, depth, this.pool.capacity),
          ),
        ),
    );
    fill(
      this.foot,
      this.tenants.length === 0 &&
        element(
          "p",
          { class: "empty" },
          "No tenant yet. One is there from its first job on, or: ",
          element("code", {}, "cotenant tenant add NAME"),
        ),
      this.tenants.length > 0 &&
        found.length === 0 &&
        element("p", { class: "empty" }, "No tenant has that in its name."),
      found.length > this.shown &&
        element(
          "p",
          { class: "paging" },
          element("button", { type: "button", onclick: more }, "More tenants"),
          element("span", {}, `${this.shown} of ${found.length}`),
        ),
    );
  }
}

/** Tenants, each below its parent. */
function family(tenants) {
  const names = new Set(tenants.map(({ name }) => name));
  const children = Map.groupBy(tenants, ({ parent }) => (names.has(parent) ? parent : undefined));
  const below = (parent, depth) =>
    (children.get(parent) ?? []).flatMap((tenant) => [
      { tenant, depth },
      ...below(tenant.name, depth + 1),
    ]);
  return below(undefined, 0);
}

function tenantItem(tenant, depth, capacity) {
  const jobs = (state, number, words) =>
    element(
      "a",
      { href: `#/jobs?tenant=${encodeURIComponent(tenant.name)}&state=${state}` },
      `${number.toLocaleString("en")} ${words}`,
    );
  return element(
    "li",
    { class: `card depth-${Math.min(depth, 3)}`, "aria-label": `Tenant ${tenant.name}` },
    element("h2", {}, tenantLink(tenant.name)),
    element(
      "p",
      { class: "about" },
      jobs("running", tenant.jobs_running, "running"),
      " · ",
      jobs("queued", tenant.jobs_waiting, "waiting"),
      ` · weight ${tenant.weight}`,
      tenant.parent && ` · lives on the share of ${tenant.parent}`,
    ),
    element(
      "div",
      { class: "scales" },
      quotaRow(tenant, {
        name: "Compute",
        key: "compute_milli",
        whole: capacity.compute_milli,
        say: cardsOf,
      }),
      quotaRow(tenant, {
        name: "Memory",
        key: "memory_mib",
        whole: capacity.memory_mib,
        say: memory,
      }),
    ),
  );
}

function quotaRow(tenant, { name, key, whole, say }) {
  const used = tenant.used[key];
  const guaranteed = tenant.guaranteed[key];
  const limit = tenant.limit?.[key];
  // A limit on one amount alone comes as a number beyond any pool for the other.
  const isLimited = limit !== undefined && limit <= Math.max(whole, used, guaranteed);
  const end = isLimited ? Math.max(limit, used, guaranteed) : Math.max(whole, used, guaranteed);
  const words = `${say(used)} held, ${say(guaranteed)} guaranteed, ${isLimited ? `at most ${say(limit)}` : "no limit"}`;
  return element(
    "div",
    { class: "scale" },
    element("span", { class: "name" }, name),
    element(
      "div",
      { class: "track quota", title: words },
      element("span", {
        class: `segment ${look(tenant.name)}`,
        place: { left: 0, width: percent(used, end) },
      }),
      guaranteed > 0 &&
        element("span", { class: "guaranteed", place: { left: percent(guaranteed, end) } }),
    ),
    element("span", { class: "words" }, words),
  );
}
