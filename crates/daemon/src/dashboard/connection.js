// The pool's HTTP interface: calls, refusals, the token, and the stream of events.

import { setPoolTime } from "/elements.js";

const ANSWER_WAIT_MS = 15_000;
// The pool sends a heartbeat each 15 s; a stream that is silent for longer is dead.
const SILENCE_MS = 40_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;
const TOKEN_KEY = "cotenant-token";

/** The pool said no. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.message ?? `the pool answered with status ${status}`);
    this.status = status;
    this.hint = problem.hint;
  }
}

/** Nobody answers. */
class Unreachable extends Error {}

let askForToken = () => Promise.reject(new Error("nobody can be asked for a token"));
let tokenInDemand;

/** Sets who is asked for a token when the pool wants one; it is told whether the last was wrong. */
export function setTokenSource(ask) {
  askForToken = ask;
}

export function hasToken() {
  return sessionStorage.getItem(TOKEN_KEY) !== null;
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN_KEY);
}

// However many calls are refused at a time, one question is asked.
function demandToken(refused) {
  const current = sessionStorage.getItem(TOKEN_KEY);
  if (current !== refused) return Promise.resolve();
  tokenInDemand ??= askForToken(refused !== null)
    .then((token) => sessionStorage.setItem(TOKEN_KEY, token))
    .finally(() => (tokenInDemand = undefined));
  return tokenInDemand;
}

/** An answer of the pool, once it has a token that it likes. */
async function request(path, options) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const headers = { ...options.headers };
    if (token !== null) headers.authorization = `Bearer ${token}`;
    const response = await answer(path, { ...options, headers });
    if (response.status !== 401) return response;
    await response.body?.cancel();
    await demandToken(token);
  }
}

async function answer(path, options) {
  try {
    const signal = options.signal ?? AbortSignal.timeout(ANSWER_WAIT_MS);
    return await fetch(path, { cache: "no-store", ...options, signal });
  } catch (error) {
    throw new Unreachable("the pool does not answer", { cause: error });
  }
}

/** Calls a route; `query` is added to its path, `body` is sent as JSON. */
async function call(method, path, { query = {}, body, key } = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key !== undefined) headers["idempotency-key"] = key;
  const url = given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
  const response = await request(url, { method, headers, body: body && JSON.stringify(body) });
  const date = Date.parse(response.headers.get("date") ?? "");
  if (!Number.isNaN(date)) setPoolTime(date);
  if (response.ok) return response;
  throw new Refusal(response.status, await response.json().catch(() => ({})));
}

/** What a route shows. */
export async function get(path, query) {
  return (await call("GET", path, { query })).json();
}

/** Does something; the same key does it once, however often it is sent. */
export async function post(path, body, key) {
  return (await call("POST", path, { body, key })).json();
}

/** A part of what a job printed, where the next begins, and whether there may be more. */
export async function readLog(job, query) {
  const response = await call("GET", `/v1/jobs/${job}/log`, { query });
  const next = Number(response.headers.get("x-next-offset"));
  return {
    bytes: await response.arrayBuffer(),
    next,
    isOpen: response.headers.get("x-open") === "true",
  };
}

/** A key that nobody else will choose. */
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The pool's events, followed across restarts.
 *
 *     stopped -> connecting -> live -> reconnecting -> live ...; any -> stopped
 *
 * It is read with fetch because an EventSource cannot send the token.
 */
export class Events {
  constructor({ onEvent, onState }) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.last = undefined;
  }

  start() {
    if (this.stopper) return;
    this.stopper = new AbortController();
    this.follow(this.stopper.signal);
  }

  stop() {
    this.stopper?.abort();
    this.stopper = undefined;
  }

  async follow(stopped) {
    for (let failures = 0; !stopped.aborted; failures++) {
      const opened = () => {
        failures = 0;
        this.onState("live");
      };
      await this.read(stopped, opened).catch(() => {});
      if (stopped.aborted) return;
      this.onState("reconnecting");
      await pause(
        Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** failures) * (0.75 + Math.random() / 2),
        stopped,
      );
    }
  }

  async read(stopped, opened) {
    const silence = new AbortController();
    const signal = AbortSignal.any([stopped, silence.signal]);
    let watch = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const path = this.last === undefined ? "/v1/events" : `/v1/events?after=${this.last}`;
      const response = await request(path, { signal, headers: { accept: "text/event-stream" } });
      // A pool that does not know the event began anew: what it has now is shown from now on.
      if (response.status === 400) this.last = undefined;
      if (!response.ok) throw new Refusal(response.status, {});
      opened();
      const decoder = new TextDecoder();
      let rest = "";
      for await (const bytes of chunks(response.body)) {
        clearTimeout(watch);
        watch = setTimeout(() => silence.abort(), SILENCE_MS);
        const blocks = (rest + decoder.decode(bytes, { stream: true }))
          .replaceAll("\r\n", "\n")
          .split("\n\n");
        rest = blocks.pop();
        blocks.forEach((block) => this.take(block));
      }
    } finally {
      clearTimeout(watch);
    }
  }

  take(block) {
    const lines = block.split("\n").filter((line) => line.startsWith("data:"));
    if (lines.length === 0) return;
    const event = JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
    this.last = event.seq;
    this.onEvent(event);
  }
}

async function* chunks(body) {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

function pause(ms, stopped) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    stopped.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
