// One job: what it waits for or holds, what it uses and prints, what happened to it, and what can be
// done about it.

import { get, post, readLog, Refusal } from "/connection.js";
import {
  count,
  duration,
  element,
  facts,
  fill,
  lasting,
  printable,
  tenantLink,
  time,
} from "/elements.js";
import { stateBadge } from "/jobs.js";
import { jobUse, placement } from "/pool.js";
import { asJobFile, joinWords, resizeForm } from "/submit.js";
import { isJobBehind, jobChart, noteJob } from "/use.js";

const LOG_POLL_MS = 1000;
// A part as large as this has more behind it, so that the next is read sooner.
const LOG_PART_BYTES = 4 << 10;
const LOG_READ_ON_MS = 50;
// What is read of a log at first, and what is kept of it in the page.
const LOG_TAIL_BYTES = 64 << 10;
const LOG_CHARS_MAX = 1 << 20;
const HOLDING = ["starting", "running", "stopping"];

/** The page of a job. */
export class JobPage {
  followsUse = true;

  constructor(main, id, { announce, confirm }) {
    this.id = id;
    this.title = `Job ${id}`;
    this.announce = announce;
    this.confirm = confirm;
    this.top = element("div", {});
    this.state = element("div", {});
    this.log = new LogView(id);
    this.resize = element(
      "details",
      { hidden: true },
      element("summary", {}, "Resize"),
      resizeForm(id, announce),
    );
    this.life = element("section", { "aria-labelledby": "life-title" });
    this.request = element("section", { "aria-labelledby": "request-title" });
    this.top.append(element("h1", { tabindex: -1 }, this.title));
    main.replaceChildren(
      this.top,
      this.state,
      this.resize,
      this.log.section,
      this.life,
      this.request,
    );
  }

  isAbout(event) {
    // A job waits for what others hold, so while it waits any event may be about it.
    return event.job === this.id || this.isWaiting;
  }

  dispose() {
    this.log.stop();
  }

  hide() {
    this.log.pause();
  }

  async load() {
    const history = isJobBehind(this.id) ? true : undefined;
    const job = await get(`/v1/jobs/${this.id}`, { history });
    noteJob(job);
    return {
      job,
      explained: job.state === "queued" ? await get(`/v1/jobs/${this.id}/explain`) : undefined,
    };
  }

  show({ job, explained }) {
    this.isWaiting = job.state === "queued";
    this.title = `Job ${job.id}, ${job.name}`;
    fill(this.top, this.heading(job), this.summary(job));
    fill(
      this.state,
      job.state === "queued" && waits(job, explained),
      HOLDING.includes(job.state) && this.holds(job),
    );
    this.resize.hidden =
      job.state !== "running" ||
      job.members.some(({ slices }) => slices.some(({ whole }) => whole));
    this.log.show(job);
    fill(this.life, element("h2", { id: "life-title" }, "Life"), life(job));
    fill(
      this.request,
      element("h2", { id: "request-title" }, "Request"),
      element("pre", { tabindex: 0 }, asJobFile(job.request)),
    );
  }

  heading(job) {
    const canEnd = job.state !== "ended" && job.state !== "stopping";
    const act = (words, ask) =>
      element(
        "button",
        { type: "button", id: "cancel", class: "danger", onclick: () => this.cancel(job, ask) },
        words,
      );
    return [
      element(
        "h1",
        { tabindex: -1, id: "job-title" },
        `Job ${job.id} `,
        element("span", { class: "name" }, job.name),
      ),
      element(
        "p",
        { class: "heading" },
        element("span", {}, stateBadge(job), " ", tenantLink(job.tenant)),
        canEnd &&
          act(
            "Cancel",
            job.state === "queued"
              ? "It leaves the queue and never runs."
              : "Its program is told to end, and gives back what it holds.",
          ),
      ),
    ];
  }

  async cancel(job, consequence) {
    const isSure = await this.confirm({
      title: `Cancel job ${job.id}?`,
      text: `${job.name}: ${consequence}`,
      yes: "Cancel the job",
    });
    if (!isSure) return;
    try {
      await post(`/v1/jobs/${job.id}/cancel`);
      this.announce(`Job ${job.id} is cancelled.`);
    } catch (error) {
      this.announce(
        error instanceof Refusal
          ? error.message
          : "The pool does not answer; the job was not cancelled.",
      );
    }
    this.refresh();
  }

  summary(job) {
    const ran =
      job.started_ms === undefined
        ? undefined
        : job.ended_ms === undefined
          ? lasting(job.started_ms)
          : duration(job.ended_ms - job.started_ms);
    return facts(
      [
        ["Asks for", job.asks],
        [
          "Runs",
          job.kind === "train"
            ? `training of ${job.request.train}`
            : joinWords(job.request.command),
        ],
        ["Class", `${job.class}, priority ${job.priority}`],
        ["Submitted", time(job.submitted_ms)],
        ["Started", job.started_ms !== undefined && time(job.started_ms)],
        ["Ended", job.ended_ms !== undefined && time(job.ended_ms)],
        ["Ran", ran],
        ["Starts", job.generation > 0 && count(job.generation, "start")],
        ["Retries left", job.retries_left > 0 && String(job.retries_left)],
        ["Exit", job.exit],
      ].filter(([, value]) => value !== false),
    );
  }

  holds(job) {
    return [
      element(
        "section",
        { "aria-labelledby": "placement-title" },
        element("h2", { id: "placement-title" }, "Placement"),
        placement(job),
      ),
      job.usage &&
        element(
          "section",
          { "aria-labelledby": "usage-title" },
          element("h2", { id: "usage-title" }, "Use"),
          element("div", { class: "use-now" }, jobUse(job), jobChart(job)),
        ),
    ];
  }
}

function waits(job, { reasons }) {
  const none = element(
    "p",
    { class: "reason" },
    job.waits ?? "Nothing stands in its way; it starts when the pool looks at it next.",
  );
  return element(
    "section",
    { "aria-labelledby": "waits-title", class: "waits" },
    element("h2", { id: "waits-title" }, "Why it waits"),
    reasons.length === 0 ? none : element("ul", { class: "reasons" }, reasons.map(reason)),
  );
}

function reason({ code, message, help, facts: figures }) {
  const known = Object.entries(figures).map(([name, value]) => [
    name.replaceAll("_", " "),
    typeof value === "object" ? JSON.stringify(value) : String(value),
  ]);
  return element(
    "li",
    {},
    element("p", { class: "reason" }, message, " ", element("code", {}, code)),
    help.length > 0 && [
      element("p", {}, "What would help:"),
      element(
        "ul",
        { class: "help-list" },
        help.map((words) => element("li", {}, words)),
      ),
    ],
    known.length > 0 && element("details", {}, element("summary", {}, "Figures"), facts(known)),
  );
}

function life(job) {
  return element(
    "ol",
    { class: "life" },
    job.life.map((event) =>
      element(
        "li",
        { key: event.seq },
        time(event.at_ms),
        element("code", {}, event.kind),
        element("span", {}, event.text),
      ),
    ),
  );
}

/** What a job prints, followed to its end. */
class LogView {
  constructor(job) {
    this.job = job;
    this.isStarted = false;
    this.stream = element(
      "select",
      { id: "log-stream", onchange: () => this.restart(-LOG_TAIL_BYTES) },
      ["stdout", "stderr"].map((name) => element("option", { value: name }, name)),
    );
    this.member = element("select", {
      id: "log-member",
      onchange: () => this.restart(-LOG_TAIL_BYTES),
    });
    this.memberLabel = element(
      "span",
      { hidden: true },
      element("label", { for: "log-member" }, "Member"),
      this.member,
    );
    this.follow = element("input", {
      type: "checkbox",
      id: "log-follow",
      onchange: () => this.scroll(),
    });
    this.follow.checked = true;
    this.status = element("p", { class: "help", role: "status" });
    this.output = element("pre", {
      class: "log",
      hidden: true,
      tabindex: 0,
      role: "log",
      "aria-live": "off",
      "aria-label": "What the job printed",
    });
    this.choices = element(
      "p",
      { class: "filters", hidden: true },
      element("span", {}, element("label", { for: "log-stream" }, "Stream"), this.stream),
      this.memberLabel,
      element("span", {}, this.follow, element("label", { for: "log-follow" }, "Follow")),
      element("button", { type: "button", onclick: () => this.restart(0) }, "From the beginning"),
    );
    this.section = element(
      "section",
      { "aria-labelledby": "log-title" },
      element("div", { class: "heading" }, element("h2", { id: "log-title" }, "Log"), this.choices),
      this.output,
      this.status,
    );
    this.restart(-LOG_TAIL_BYTES);
  }

  /** Reads again from an offset; a negative one counts from the end. */
  restart(offset) {
    this.stop();
    this.offset = offset;
    this.decoder = new TextDecoder();
    this.output.textContent = "";
    this.isOpen = true;
    if (this.isStarted) this.poll();
  }

  /** Follows the job as it is now; called whenever the page is refreshed. */
  show(job) {
    const members = job.request.members ?? 1;
    this.memberLabel.hidden = members === 1;
    const numbers = Array.from({ length: members }, (_, index) => String(index));
    if (this.member.options.length !== members)
      fill(
        this.member,
        numbers.map((value) => element("option", { value, key: value }, value)),
      );
    // A job that starts again goes on printing.
    if (this.generation !== job.generation) this.isOpen = true;
    this.generation = job.generation;
    this.isStarted = job.generation > 0;
    this.isEnded = job.state === "ended";
    this.output.hidden = this.choices.hidden = !this.isStarted;
    if (!this.isStarted)
      fill(this.status, this.isEnded ? "It never ran." : "It has not started yet.");
    else if (!this.reading && this.timer === undefined && this.isOpen) this.poll();
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  stop() {
    this.pause();
    this.reading = undefined;
  }

  async poll() {
    this.pause();
    const reading = (this.reading = {});
    const query = {
      stream: this.stream.value,
      member: this.member.value || "0",
      offset: this.offset,
    };
    const part = await readLog(this.job, query).catch((error) => ({ error }));
    // Another stream was chosen meanwhile, or the page was left.
    if (this.reading !== reading) return;
    this.reading = undefined;
    if (part.error) return this.failed(part.error);
    this.append(part);
    if (this.isOpen && document.visibilityState === "visible") {
      const hasMore = part.bytes.byteLength >= LOG_PART_BYTES;
      this.timer = setTimeout(() => this.poll(), hasMore ? LOG_READ_ON_MS : LOG_POLL_MS);
    }
  }

  failed(error) {
    fill(
      this.status,
      error instanceof Refusal ? error.message : "The pool does not answer; trying again.",
    );
    // The next refresh of the page tries again, unless it would be refused for ever.
    this.isOpen = !(error instanceof Refusal) || !this.isEnded;
  }

  append({ bytes, next, isOpen }) {
    this.offset = next;
    // The end is reached when the job prints no more and all it printed is here.
    this.isOpen = isOpen || bytes.byteLength > 0;
    const text = plain(this.decoder.decode(bytes, { stream: this.isOpen }));
    if (text !== "") this.output.append(text);
    if (this.output.textContent.length > LOG_CHARS_MAX)
      this.output.textContent = this.output.textContent.slice(-LOG_CHARS_MAX / 2);
    const isEmpty = this.output.textContent === "";
    fill(
      this.status,
      this.isOpen
        ? isEmpty
          ? "Nothing yet."
          : "Following."
        : isEmpty
          ? "It printed nothing here."
          : "This is the end.",
    );
    if (text !== "") this.scroll();
  }

  scroll() {
    if (this.follow.checked) this.output.scrollTop = this.output.scrollHeight;
  }
}

/** Output without a terminal's commands; a progress line that is drawn again becomes another line. */
function plain(text) {
  const bare = text.replace(/\u001b\[[0-9;?]*[ -/]*[@-~]/g, "").replace(/\r\n?/g, "\n");
  return printable(bare);
}
