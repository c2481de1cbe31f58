// Parts of the page: how they are built and brought up to date, and how amounts and times are said.
//
// Text becomes text nodes and attributes alone, never markup, so that no job can name itself into
// the page. Fresh elements are patched onto those that are shown: focus, selection and scroll stay.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "line", "title"]);
// What a person changed by hand and no refresh may undo.
const ATTRIBUTES_OF_THE_READER = new Set(["open"]);

/** An element with attributes, handlers (`onclick`) and a `place` in per cent of its parent. */
export function element(tag, attributes, ...children) {
  const made = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "key") made.key = String(value);
    else if (name === "place") put(made, value);
    else if (name.startsWith("on")) made[name] = value;
    else made.setAttribute(name, value === true ? "" : printable(String(value)));
  }
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    made.append(child instanceof Node ? child : printable(String(child)));
  }
  return made;
}

/** A child that is built only if its signature is not the one that is shown. */
export function lazy(key, signature, build) {
  return { key: String(key), signature, build };
}

// Set on the style object and not as an attribute, which the content security policy forbids.
function put(made, { left, width }) {
  if (left !== undefined) made.style.left = `${left}%`;
  if (width !== undefined) made.style.width = `${width}%`;
}

/** Makes these the children of a parent, keeping those that are there already. */
export function fill(parent, ...children) {
  const fresh = children
    .flat(Infinity)
    .filter((child) => child !== undefined && child !== null && child !== false);
  const wanted = fresh.map((child) =>
    child instanceof Node || child.build
      ? child
      : document.createTextNode(printable(String(child))),
  );
  patchChildren(parent, wanted);
}

function patchChildren(parent, fresh) {
  const keys = new Set(fresh.map((child) => child.key).filter(Boolean));
  const known = new Map();
  for (const child of [...parent.childNodes]) {
    if (!child.key) continue;
    if (keys.has(child.key)) known.set(child.key, child);
    else child.remove();
  }
  let next = parent.firstChild;
  for (const child of fresh) {
    const shown = child.key ? known.get(child.key) : sameKind(next, child) ? next : undefined;
    const after = shown && shown === next ? next.nextSibling : next;
    if (!shown) parent.insertBefore(built(child), next);
    else {
      if (shown !== next) parent.insertBefore(shown, next);
      update(shown, child);
    }
    next = after;
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

function built(child) {
  if (child instanceof Node) return child;
  const made = child.build();
  made.key = child.key;
  made.signature = child.signature;
  return made;
}

function update(shown, child) {
  if (child instanceof Node) return patch(shown, child);
  if (shown.signature === child.signature) return;
  patch(shown, child.build());
  shown.signature = child.signature;
}

function sameKind(shown, fresh) {
  return shown && !shown.key && !fresh.key && shown.nodeName === fresh.nodeName;
}

function patch(shown, fresh) {
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== fresh.data) shown.data = fresh.data;
    return;
  }
  if (shown.nodeName !== fresh.nodeName) return shown.replaceWith(fresh);
  patchAttributes(shown, fresh);
  for (const handler of ["onclick", "oninput", "onchange", "onsubmit"]) {
    if (shown[handler] !== fresh[handler]) shown[handler] = fresh[handler];
  }
  patchChildren(shown, [...fresh.childNodes]);
}

function patchAttributes(shown, fresh) {
  for (const { name } of [...shown.attributes]) {
    if (name === "style" || ATTRIBUTES_OF_THE_READER.has(name)) continue;
    if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "style" && shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  if (shown.style.cssText !== fresh.style.cssText) shown.style.cssText = fresh.style.cssText;
}

/** Text whose control characters are seen instead of obeyed: terminals' and those that turn text around. */
export function printable(text) {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (control) => {
      const code = control.charCodeAt(0);
      return code < 0x20 ? String.fromCharCode(0x2400 + code) : "\ufffd";
    },
  );
}

/** `3 jobs`, `1 job`. */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Memory as people say it: `6 GiB`. */
export function memory(mib) {
  const units = [
    ["TiB", 1 << 20],
    ["GiB", 1 << 10],
  ];
  const [unit, size] = units.find(([, size]) => mib >= size) ?? ["MiB", 1];
  return `${short(mib / size)} ${unit}`;
}

/** A share of a card: `12.5%`. */
export function share(perMille) {
  return `${short(perMille / 10)}%`;
}

/** Compute of several cards: `1.5 cards`. */
export function cardsOf(milli) {
  return `${(milli / 1000).toLocaleString("en", { maximumFractionDigits: 2 })} ${milli === 1000 ? "card" : "cards"}`;
}

function short(number) {
  return (Math.round(number * 10) / 10).toLocaleString("en");
}

/** How much of a whole, in per cent from 0 to 100; nothing of nothing is 0. */
export function percent(part, whole) {
  return whole > 0 ? Math.min(100, (100 * part) / whole) : 0;
}

let clockAheadMs = 0;

/** Notes the pool's clock, so that a wrong one here does not bend what is said of times. */
export function setPoolTime(poolMs) {
  const ahead = Date.now() - poolMs;
  // The pool's time comes in whole seconds; less than that is no difference.
  clockAheadMs = Math.abs(ahead) < 3000 ? 0 : ahead;
}

/** Now, by the pool's clock. */
export function poolNow() {
  return Date.now() - clockAheadMs;
}

/** A span of time in its two largest units: `1 h 5 min`. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [minutes, hours, days] = [60, 3600, 86400].map((size) => Math.floor(seconds / size));
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

function ago(ms) {
  const passed = poolNow() - ms;
  return passed < 1500 ? "just now" : `${duration(passed)} ago`;
}

/** A time as people say it, with the exact one in its title. */
export function time(ms) {
  const date = new Date(ms);
  return element(
    "time",
    { datetime: date.toISOString(), title: date.toLocaleString(), "data-ago": ms },
    ago(ms),
  );
}

/** How long something has lasted that began at `ms`. */
export function lasting(ms) {
  const began = new Date(ms);
  const title = `since ${began.toLocaleString()}`;
  return element(
    "time",
    { datetime: began.toISOString(), title, "data-lasting": ms },
    duration(poolNow() - ms),
  );
}

/** Says every shown time anew. */
export function refreshTimes() {
  for (const shown of document.querySelectorAll("time[data-ago]"))
    say(shown, ago(Number(shown.dataset.ago)));
  for (const shown of document.querySelectorAll("time[data-lasting]")) {
    say(shown, duration(poolNow() - Number(shown.dataset.lasting)));
  }
}

function say(shown, text) {
  if (shown.textContent !== text) shown.textContent = text;
}

const HUES = 12;
const PATTERNS = 6;

/** The classes by which a tenant looks the same everywhere: a colour and a pattern from its name. */
export function look(tenant) {
  let hash = 0x811c9dc5;
  for (let at = 0; at < tenant.length; at++)
    hash = Math.imul(hash ^ tenant.charCodeAt(at), 0x01000193);
  // Names that differ in one letter would else differ in few bits.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = (hash ^ (hash >>> 13)) >>> 0;
  return `look hue-${hash % HUES} pattern-${Math.floor(hash / HUES) % PATTERNS}`;
}

/** A tenant's name beside its colour, leading to its jobs. */
export function tenantLink(tenant) {
  const href = `#/jobs?tenant=${encodeURIComponent(tenant)}`;
  return element(
    "a",
    { class: "tenant", href },
    element("span", { class: `swatch ${look(tenant)}`, "aria-hidden": "true" }),
    tenant,
  );
}

/** A job's number, leading to its page. */
export function jobLink(id) {
  return element("a", { class: "job", href: `#/jobs/${id}` }, `job ${id}`);
}

/** A list of names and values. */
export function facts(entries) {
  const shown = entries.filter(
    ([, value]) => value !== undefined && value !== null && value !== "",
  );
  return element(
    "dl",
    {},
    shown.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value)),
    ),
  );
}
