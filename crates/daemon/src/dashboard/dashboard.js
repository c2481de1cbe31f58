// The dashboard: which page is shown, and when it is brought up to date.
//
//     event or 2 s passed -> wanted -> (at most twice a second, one at a time) -> load -> show
//
// A page has a title; `load` asks the pool, `show` says what it answered, `isAbout` tells which
// events concern it, and `followsUse` whether it shows figures that change without an event.
// While the tab is hidden nothing is asked: the stream is closed too, as browsers open only six
// connections to a pool.

import { Events, forgetToken, get, hasToken, Refusal, setTokenSource } from "/connection.js";
import { element, fill, refreshTimes } from "/elements.js";
import { JobPage } from "/job.js";
import { JobsPage } from "/jobs.js";
import { colophon, glance, PoolPage } from "/pool.js";
import { SubmitPage } from "/submit.js";
import { TenantsPage } from "/tenants.js";
import { isPoolBehind, notePool } from "/use.js";

const USE_POLL_MS = 2000;
const ANNOUNCED_MS = 8000;
const REFRESH_GAP_MS = 500;
// A pool that answers slowly is asked less often, so that pages never take most of its time.
const REST_FOR_WORK = 3;

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const CONNECTION_WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  paused: "Paused",
};

let page;
let announced;

const refresh = {
  isWanted: false,
  running: undefined,
  timer: undefined,
  restUntil: 0,

  /** Brings the page up to date soon. */
  want() {
    this.isWanted = true;
    if (this.running || this.timer !== undefined || isHidden()) return;
    this.timer = setTimeout(() => this.now(), Math.max(0, this.restUntil - performance.now()));
  },

  /** Brings the page up to date at once, because somebody waits for it; an older run shows nothing. */
  async now() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.isWanted = false;
    const run = (this.running = {});
    const began = performance.now();
    await bringUpToDate(page, () => this.running === run);
    if (this.running !== run) return;
    const took = performance.now() - began;
    this.restUntil = performance.now() + Math.max(REFRESH_GAP_MS - took, REST_FOR_WORK * took);
    this.running = undefined;
    if (this.isWanted) this.want();
  },
};

async function bringUpToDate(shown, isCurrent) {
  const history = isPoolBehind() ? true : undefined;
  const asked = await Promise.all([get("/v1/pool", { history }), shown.load()]).catch((error) => ({ error }));
  if (!isCurrent()) return;
  if (asked.error) return showFailure(asked.error);
  const [pool, data] = asked;
  notePool(pool);
  fill(document.getElementById("glance"), glance(pool));
  fill(document.getElementById("colophon"), colophon(pool));
  showProblem();
  shown.show(data, pool);
  shown.isShown = true;
  document.title = `${shown.title} - Cotenant`;
  document.getElementById("forget").hidden = !hasToken();
}

function showFailure(error) {
  if (error instanceof Refusal) return showProblem(error);
  // The header says that the connection is lost; what is shown stays, as it was.
  if (!page.isShown) showProblem({ message: "The pool does not answer; trying again." });
}

function showProblem(problem) {
  const place = document.getElementById("problem");
  fill(
    place,
    problem?.message,
    problem?.hint && element("span", { class: "hint" }, `hint: ${problem.hint}`),
  );
  place.hidden = problem === undefined;
}

const PAGES = [
  [/^$/, "pool", (_, query) => new PoolPage(main, query)],
  [/^jobs$/, "jobs", (_, query) => new JobsPage(main, query)],
  [/^jobs\/(\d+)$/, "jobs", ([, id]) => new JobPage(main, Number(id), { announce, confirm })],
  [/^tenants$/, "tenants", () => new TenantsPage(main)],
  [/^submit$/, "submit", (_, query) => new SubmitPage(main, query, announce)],
];

function navigate() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const route = PAGES.find(([pattern]) => pattern.test(path)) ?? PAGES[0];
  const [pattern, name, make] = route;
  page?.dispose?.();
  const isFirst = page === undefined;
  showProblem();
  page = make(pattern.exec(path), new URLSearchParams(query));
  page.refresh = () => refresh.now();
  document.title = `${page.title} - Cotenant`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!isFirst) {
    scrollTo(0, 0);
    main.querySelector("h1").focus();
  }
  refresh.now();
}

const events = new Events({
  onEvent: (event) => {
    if (page.isAbout(event)) refresh.want();
  },
  onState: (state) => {
    const before = connection.dataset.state;
    setConnection(state);
    if (state !== "live") return;
    if (before === "reconnecting") announce("Connected again; nothing was missed.");
    // What happened between the page's first answer and the stream's beginning is in no event.
    refresh.want();
  },
});

function setConnection(state) {
  if (connection.dataset.state === state) return;
  connection.dataset.state = state;
  fill(connection, CONNECTION_WORDS[state]);
}

function isHidden() {
  return document.visibilityState === "hidden";
}

function onVisibility() {
  if (isHidden()) {
    events.stop();
    setConnection("paused");
    page.hide?.();
    return;
  }
  setConnection("connecting");
  events.start();
  refresh.want();
}

function tick() {
  if (isHidden()) return;
  refreshTimes();
  if (page.followsUse || connection.dataset.state !== "live") refresh.want();
}

/** Says something that no place of the page shows by itself. */
function announce(words) {
  const place = document.getElementById("announcement");
  fill(place, words);
  clearTimeout(announced);
  announced = setTimeout(() => fill(place), ANNOUNCED_MS);
}

/** Asks before something that cannot be taken back. */
function confirm({ title, text, yes }) {
  const dialog = document.getElementById("confirm-dialog");
  fill(document.getElementById("confirm-title"), title);
  fill(document.getElementById("confirm-text"), text);
  fill(document.getElementById("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Asks for a token until there is one. */
function askForToken(wasWrong) {
  const dialog = document.getElementById("token-dialog");
  const input = document.getElementById("token");
  fill(document.getElementById("token-wrong"), wasWrong && "The pool does not know that token.");
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const take = () => {
      const token = input.value.trim();
      if (token === "") return dialog.showModal();
      dialog.removeEventListener("close", take);
      resolve(token);
    };
    dialog.addEventListener("close", take);
  });
}

function onKey(event) {
  const isTyping = event.target.closest("input, textarea, select, dialog");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const filter = document.getElementById("filter");
  if (!filter) return;
  event.preventDefault();
  filter.focus();
  filter.select();
}

function start() {
  setTokenSource(askForToken);
  addEventListener("hashchange", navigate);
  document.addEventListener("visibilitychange", onVisibility);
  document.addEventListener("keydown", onKey);
  // The address holds the page, so the link to the content must not change it.
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  document.getElementById("forget").addEventListener("click", () => {
    forgetToken();
    location.reload();
  });
  navigate();
  onVisibility();
  setInterval(tick, USE_POLL_MS);
}

start();
