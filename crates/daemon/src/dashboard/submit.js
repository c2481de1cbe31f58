// Forms that ask the pool for something: submitting a job, and giving a running one other amounts.
// What the pool refuses is said beside the field that it names.

import { freshKey, get, post, Refusal } from "/connection.js";
import { element, fill } from "/elements.js";

/** A labelled control with its help and a place for what is wrong with it. */
function field({ key, label, help, wide, control }) {
  control.id = `field-${key}`;
  control.name = key;
  control.setAttribute("aria-describedby", `help-${key} wrong-${key}`);
  return element(
    "div",
    { class: wide ? "field wide" : "field" },
    element("label", { for: control.id }, label),
    control,
    element("p", { class: "help", id: `help-${key}` }, help),
    element("p", { class: "wrong", id: `wrong-${key}`, role: "alert" }),
  );
}

function input(key, label, help, attributes) {
  return field({
    key,
    label,
    help,
    control: element("input", {
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      ...attributes,
    }),
  });
}

function number(key, label, help, attributes) {
  return input(key, label, help, { inputmode: "numeric", ...attributes });
}

function select(key, label, help, values) {
  return field({
    key,
    label,
    help,
    control: element(
      "select",
      {},
      values.map(([value, words]) => element("option", { value }, words)),
    ),
  });
}

/** Takes away what was said of the last attempt. */
function clearRefusal(form) {
  for (const wrong of form.querySelectorAll(".wrong")) fill(wrong);
  for (const control of form.elements) control.removeAttribute("aria-invalid");
}

/** Says what the pool refused, beside the field that its message begins with if there is one. */
function showRefusal(form, { message, hint }) {
  const [, key, problem] = /^([a-z_.]+): ([^]*)$/.exec(message) ?? [];
  const control = key && form.elements.namedItem(key);
  const words = control ? problem : message;
  const place = form.querySelector(control ? `#${CSS.escape(`wrong-${key}`)}` : ".form-wrong");
  fill(place, words, hint && element("span", { class: "hint" }, `hint: ${hint}`));
  if (!control) return;
  control.setAttribute("aria-invalid", "true");
  control.closest("details")?.setAttribute("open", "");
  control.focus();
}

function filled(form, keys) {
  const entries = keys.map((key) => [key, form.elements.namedItem(key).value.trim()]);
  return Object.fromEntries(entries.filter(([, value]) => value !== ""));
}

function wholeNumbers(form, keys) {
  const given = Object.entries(filled(form, keys));
  return Object.fromEntries(
    given.map(([key, text]) => {
      if (!/^-?\d{1,9}$/.test(text))
        throw new Refusal(0, { message: `${key}: is not a whole number` });
      return [key, Number(text)];
    }),
  );
}

/** Splits a line into words as a shell does, quotes and backslashes too; nothing is expanded. */
function splitWords(line) {
  const words = [];
  let word;
  let quote;
  for (let at = 0; at < line.length; at++) {
    const letter = line[at];
    if (quote === undefined && /\s/.test(letter)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (letter === quote) {
      quote = undefined;
    } else if (quote === undefined && (letter === "'" || letter === '"')) {
      quote = letter;
      word ??= "";
    } else if (
      letter === "\\" &&
      quote !== "'" &&
      at + 1 < line.length &&
      (quote === undefined || '"\\'.includes(line[at + 1]))
    ) {
      word = (word ?? "") + line[++at];
    } else {
      word = (word ?? "") + letter;
    }
  }
  if (quote !== undefined)
    throw new Refusal(0, {
      message: `command: has a ${quote} that is not closed`,
      hint: "close the quote, or put a backslash before it",
    });
  return word === undefined ? words : [...words, word];
}

/** Words as a line that splits into the same. */
export function joinWords(words) {
  const plain = /^[\w@%+=:,./-]+$/;
  return words
    .map((word) => (plain.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`))
    .join(" ");
}

/** A request as a job file. */
export function asJobFile(request) {
  const isTable = (value) => typeof value === "object" && !Array.isArray(value);
  const given = Object.entries(request);
  const lines = ([key, value]) =>
    `${/^[\w-]+$/.test(key) ? key : quoted(key)} = ${Array.isArray(value) ? `[${value.map(quoted).join(", ")}]` : quoted(value)}`;
  const tables = given
    .filter(([, value]) => isTable(value))
    .map(([key, value]) => [`\n[${key}]`, ...Object.entries(value).map(lines)].join("\n"));
  return [...given.filter(([, value]) => !isTable(value)).map(lines), ...tables].join("\n");
}

// JSON's strings are TOML's, but for the one character that TOML wants escaped and JSON does not.
function quoted(value) {
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

const AMOUNTS = [
  [
    "memory",
    "Memory kept",
    "On each card: 6GiB, 512MiB or 25%. Empty, and compute too: whole cards.",
  ],
  ["memory_limit", "Memory at most", "What it may reach. Empty: what is kept."],
  ["compute", "Compute kept", "On each card: 30% or 12.5%."],
  ["compute_limit", "Compute at most", "What it may reach. Empty: by policy."],
];
const AMOUNT_KEYS = AMOUNTS.map(([key]) => key);
const TEXTS = ["tenant", "name", ...AMOUNT_KEYS, "policy", "class", "place", "folder"];
const NUMBERS = ["cards", "priority", "members", "retries", "time_limit_s", "deadline_s"];
const GRACE = "preempt.grace_s";

function jobRequest(form) {
  const request = { command: splitWords(form.elements.command.value) };
  Object.assign(request, filled(form, TEXTS), wholeNumbers(form, NUMBERS));
  if (form.elements.preempt.checked) {
    const grace = wholeNumbers(form, [GRACE])[GRACE];
    request.preempt = grace === undefined ? {} : { grace_s: grace };
  }
  return request;
}

/** The form that submits a job. */
export class SubmitPage {
  title = "Submit a job";
  followsUse = false;

  constructor(main, query, announce) {
    this.announce = announce;
    this.preview = element("pre", { tabindex: 0, "aria-label": "The job file" });
    this.words = element("p", { class: "help", id: "command-words", "aria-live": "polite" });
    this.tenants = element("datalist", { id: "tenants" });
    this.form = this.build();
    main.replaceChildren(element("h1", { tabindex: -1 }, "Submit a job"), this.form);
    this.changed();
  }

  isAbout({ kind }) {
    return kind.startsWith("tenant");
  }

  load() {
    return get("/v1/tenants");
  }

  show({ tenants }) {
    fill(
      this.tenants,
      tenants.map(({ name }) => element("option", { value: name, key: name })),
    );
  }

  build() {
    const form = element(
      "form",
      {
        id: "submit-form",
        class: "panel",
        novalidate: true,
        oninput: () => this.changed(),
        onsubmit: (event) => this.submit(event),
      },
      commandField(this.words),
      this.tenants,
      sharing(),
      rank(),
      lessOften(),
      element(
        "details",
        {},
        element("summary", {}, "As a job file"),
        element(
          "p",
          { class: "help" },
          "Save it and: ",
          element("code", {}, "cotenant job submit FILE"),
        ),
        this.preview,
      ),
      element("p", { class: "wrong form-wrong", role: "alert" }),
      element(
        "p",
        { class: "actions" },
        element("button", { class: "main", type: "submit" }, "Submit the job"),
      ),
    );
    return form;
  }

  changed() {
    // Another content is another job; only the same one sent again must not run twice.
    this.key = freshKey();
    try {
      const request = jobRequest(this.form);
      fill(
        this.words,
        request.command.length > 1 &&
          `${request.command.length} words: ${request.command.map((word) => `“${word}”`).join(" ")}`,
      );
      fill(this.preview, asJobFile(request));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      fill(this.preview, error.message);
    }
  }

  async submit(event) {
    event.preventDefault();
    await send(this.form, async () => {
      const job = await post("/v1/jobs", jobRequest(this.form), this.key);
      this.announce(`Job ${job.id} is submitted.`);
      location.hash = `#/jobs/${job.id}`;
    });
  }
}

/** Runs what a form is for, once at a time, and shows what was refused. */
async function send(form, act) {
  const button = form.querySelector("button[type=submit]");
  if (button.disabled) return;
  clearRefusal(form);
  button.disabled = true;
  try {
    await act();
  } catch (error) {
    if (error instanceof Refusal) showRefusal(form, error);
    else
      showRefusal(form, {
        message: "the pool does not answer",
        hint: "send it again; it will not run twice",
      });
  } finally {
    button.disabled = false;
  }
}

function commandField(words) {
  const control = element("textarea", {
    rows: 2,
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
    required: true,
    onkeydown: submitOnEnter,
  });
  const made = field({
    key: "command",
    label: "Command",
    wide: true,
    control,
    help: "A program and its arguments, with quotes as in a shell. No shell runs it: $NAME and * stay as they are.",
  });
  made.append(words);
  return made;
}

function submitOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  event.currentTarget.form.requestSubmit();
}

function sharing() {
  return element(
    "fieldset",
    {},
    element("legend", {}, "Slice"),
    AMOUNTS.map(([key, label, help]) => input(key, label, help)),
    number("cards", "Cards", "Different cards. Empty: 1."),
    select(
      "policy",
      "Policy",
      "What limits mean: they always hold, idle time may be used up to them, or weights count when several want the card.",
      [
        ["", "fixed: limits hold"],
        ["burst", "burst: may use idle time"],
        ["contend", "contend: by weight"],
      ],
    ),
  );
}

function rank() {
  const preemptible = element("input", { type: "checkbox" });
  return element(
    "fieldset",
    {},
    element("legend", {}, "Who and when"),
    input("tenant", "Tenant", "Who pays for it. Empty: the token's tenant.", { list: "tenants" }),
    select("class", "Class", "Whether somebody waits for its answers.", [
      ["", "offline: nobody waits"],
      ["online", "online: goes first"],
    ]),
    number("priority", "Priority", "Higher goes first; -1000 to 1000. Empty: 0."),
    field({
      key: "preempt",
      label: "Preemptible",
      help: "It may be asked to end for another, and is started again later.",
      control: preemptible,
    }),
    number(GRACE, "Grace in seconds", "Time it has for a checkpoint. Empty: 30."),
  );
}

function lessOften() {
  return element(
    "details",
    {},
    element("summary", {}, "More"),
    element(
      "fieldset",
      {},
      element("legend", { class: "unseen" }, "More"),
      input("name", "Name", "What people call it. Empty: the program's name."),
      number("members", "Members", "Processes that start together or not at all. Empty: 1."),
      select("place", "Place", "Which of the cards that fit.", [
        ["", "binpack: the fullest"],
        ["spread", "spread: the emptiest"],
      ]),
      input("folder", "Folder", "Where the program starts: an absolute path."),
      number("time_limit_s", "Time limit in seconds", "Longest that it may run at a stretch."),
      number("deadline_s", "Deadline in seconds", "After submission, by when it must have ended."),
      number("retries", "Retries", "How often it is started again after it failed. Empty: 0."),
    ),
  );
}

/** The form that gives a running job other amounts; empty fields stay as they are. */
export function resizeForm(id, announce) {
  const form = element(
    "form",
    { id: "resize-form", class: "panel", novalidate: true },
    element(
      "fieldset",
      {},
      element("legend", { class: "unseen" }, "New amounts"),
      AMOUNTS.map(([key, label]) => input(key, label, "Empty: as it is.")),
    ),
    element("p", { class: "wrong form-wrong", role: "alert" }),
    element("p", { class: "actions" }, element("button", { type: "submit" }, "Resize the job")),
  );
  form.onsubmit = async (event) => {
    event.preventDefault();
    await send(form, async () => {
      const amounts = filled(form, AMOUNT_KEYS);
      if (Object.keys(amounts).length === 0)
        throw new Refusal(0, {
          message: "memory: is empty, and so are the others; give an amount",
        });
      await post(`/v1/jobs/${id}/resize`, amounts);
      form.reset();
      announce(`Job ${id} has its new amounts.`);
    });
  };
  return form;
}
