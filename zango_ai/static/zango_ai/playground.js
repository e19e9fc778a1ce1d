// The playground: runs each column as an event stream, and shows text, tool calls, approvals and figures as they arrive.
// Without this script, the form's answer is a page with the results.

import { prepare } from "./panel.js";
import { ModelPicker } from "./model_picker.js";
import { csrfToken, parseEvents } from "./stream.js";

const WAIT_MS = 400;
const root = document.querySelector("[data-za-playground]");
const form = document.getElementById("za-playground");

class Column {
  constructor(element) {
    this.element = element;
    this.number = element.dataset.zaColumn;
    this.settings = element.querySelector("fieldset");
    this.status = element.querySelector("[data-za-status]");
    this.turns = element.querySelector("[data-za-turns]");
    this.request = null;
    this.runId = null;
    this.turns.addEventListener("submit", (event) => {
      if (!event.target.matches("[data-za-decide]")) return;
      event.preventDefault();
      this.decide(event.target);
    });
    if (this.isUsed) this.open();
  }

  get isUsed() { return !this.element.hidden; }

  get isRunning() { return this.request !== null; }

  field(name) { return this.element.querySelector(`[name="c${this.number}-${name}"]`); }

  open() {
    this.element.hidden = this.settings.disabled = false;
    if (this.picker) return;
    this.field("provider").addEventListener("change", () => { this.field("model").value = ""; });
    this.picker = new ModelPicker(this.field("model"), this.field("provider"), root.dataset);
  }

  close() {
    this.element.hidden = this.settings.disabled = true;
  }

  // Takes over another column's settings, so that only what is to be compared has to be changed.
  follow(other) {
    for (const name of ["provider", "model", "system_version", "user_version", "system_draft", "user_draft"]) {
      const [mine, theirs] = [this.field(name), other.field(name)];
      if (mine && theirs) mine.value = theirs.value;
    }
  }

  run() {
    const body = new FormData(form);
    body.set("column", this.number);
    const session = this.field("session_id");
    if (!session?.value) this.turns.replaceChildren();
    this.turn = document.createElement("li");
    const message = body.get("message");
    if (session && message) {
      const question = document.createElement("p");
      question.className = "za-question";
      question.textContent = message;
      this.turn.append(question);
    }
    this.turns.append(this.turn);
    return this.send(location.href, body);
  }

  decide(decisions) {
    const body = new FormData(decisions);
    for (const control of decisions.elements) control.disabled = true;
    decisions.classList.add("za-decided");
    this.turn = decisions.closest("li");
    return this.send(decisions.action, body);
  }

  async send(url, body) {
    this.element.querySelector("[data-za-empty]")?.remove();
    this.request = new AbortController();
    this.runId = null;
    this.answer = null;
    this.hasText = false;
    this.say(root.dataset.waiting, true);
    changed();
    try {
      const headers = { Accept: "text/event-stream" };
      const response = await fetch(url, { method: "POST", body, headers, signal: this.request.signal });
      if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) await this.read(response);
      else await this.refused(response);
    } catch (error) {
      this.say(error.name === "AbortError" ? root.dataset.stopped : root.dataset.broken);
    } finally {
      this.endText();
      this.request = null;
      changed();
    }
  }

  async refused(response) {
    const { errors, html } = response.headers.get("Content-Type")?.includes("json") ? await response.json() : {};
    if (errors) {
      showErrors(errors);
      this.turn.remove();
      this.say(root.dataset.invalid);
    } else if (html) {
      this.add(html);
      this.say(root.dataset.failure);
    } else {
      this.say(root.dataset.broken);
    }
  }

  async read(response) {
    let hasEnded = false;
    for await (const { data } of parseEvents(response.body)) {
      const event = JSON.parse(data);
      hasEnded ||= ["final", "error"].includes(event.type);
      this.handle(event);
    }
    if (!hasEnded) this.say(root.dataset.broken);
  }

  handle(event) {
    switch (event.type) {
      case "started": this.runId = event.run_id; break;
      case "text": this.write(event.text); break;
      case "reset": this.answer?.remove(); this.answer = null; break;
      case "round_end": this.endText(); break;
      case "tool_call": this.endText(); this.add(event.html).dataset.call = event.call; break;
      case "tool_result": this.replaceCall(event); break;
      case "error": this.endText(); this.add(event.html); this.say(root.dataset.failure); break;
      case "final": this.finish(event);
    }
  }

  write(text) {
    if (!this.answer) {
      this.answer = document.createElement("div");
      this.answer.className = "za-answer";
      this.answer.setAttribute("aria-live", "polite");
      this.answer.setAttribute("aria-busy", "true");
      this.turn.append(this.answer);
      this.say(root.dataset.writing, true);
    }
    this.hasText = true;
    this.answer.append(text);
  }

  endText() {
    this.answer?.setAttribute("aria-busy", "false");
    this.answer = null;
  }

  replaceCall(event) {
    const before = [...this.turn.children].find((each) => each.dataset.call === event.call);
    const after = this.add(event.html);
    after.dataset.call = event.call;
    before?.replaceWith(after);
  }

  finish(event) {
    if (event.text && !this.hasText) this.write(event.text);
    this.endText();
    this.turn.querySelector(".za-decided")?.remove();
    for (const old of this.turn.querySelectorAll(".za-run-figures, .za-run-links")) old.remove();
    this.add(event.html);
    const isWaiting = this.turn.querySelector("[data-za-decide]") !== null;
    this.say(isWaiting ? root.dataset.paused : root.dataset.done);
    const session = this.field("session_id");
    if (session && event.session_id) {
      if (![...session.options].some((option) => option.value === event.session_id)) {
        session.add(new Option(event.session_id, event.session_id));
      }
      session.value = event.session_id;
      form.querySelector("[name=message]").value = "";
    }
  }

  // Adds markup that the server has rendered, and returns its first element.
  add(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const first = template.content.firstElementChild;
    this.turn.append(template.content);
    prepare(this.turn);
    return first;
  }

  say(text, isBusy = false) {
    this.status.textContent = text;
    this.status.toggleAttribute("data-busy", isBusy);
  }

  // Closing the connection ends the run. The server is told as well, because it may notice that late.
  async stop() {
    if (!this.isRunning) return;
    const { turn, runId } = this;
    this.request.abort();
    if (!runId) return;
    const body = new FormData();
    body.set("run_id", runId);
    body.set("csrfmiddlewaretoken", csrfToken());
    const response = await fetch(root.dataset.cancelUrl, { method: "POST", body });
    if (response.ok) turn.insertAdjacentHTML("beforeend", await response.text());
  }
}

function showErrors(errors) {
  for (const place of document.querySelectorAll("[data-za-error]")) {
    place.textContent = (errors[place.dataset.zaError] ?? []).join(" ");
  }
  const first = Object.keys(errors).find((id) => id);
  if (first) document.getElementById(first)?.focus();
}

// The buttons follow what is running and how many columns there are.
function changed() {
  const isRunning = columns.some((column) => column.isRunning);
  const used = columns.filter((column) => column.isUsed);
  form.querySelector("[name=run]").hidden = isRunning;
  form.querySelector("[data-za-stop]").hidden = !isRunning;
  form.querySelector("[data-za-add]").hidden = isRunning || used.length === columns.length;
  form.querySelector("input[name=columns]").value = used.length;
  for (const column of columns) {
    const button = column.element.querySelector("[data-za-remove]");
    if (button) button.hidden = isRunning || column !== used.at(-1);
  }
}

function run() {
  showErrors({});
  for (const column of columns.filter((each) => each.isUsed)) column.run();
}

let timer = 0;

function scheduleFields(event) {
  if (!event.target.matches("[name$=_version], [name$=_draft]")) return;
  clearTimeout(timer);
  timer = setTimeout(refreshFields, WAIT_MS);
}

// The fields for placeholders follow the chosen texts.
async function refreshFields() {
  const response = await fetch(root.dataset.fieldsUrl, { method: "POST", body: new FormData(form) });
  if (response.ok) form.querySelector("[data-za-variables]").innerHTML = await response.text();
}

const columns = [...document.querySelectorAll("[data-za-column]")].map((element) => new Column(element));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { submitter } = event;
  if (submitter?.matches("[data-za-add]")) {
    const next = columns.find((column) => !column.isUsed);
    next.follow(columns[0]);
    next.open();
    next.field("provider").focus();
    changed();
    refreshFields();
  } else if (submitter?.matches("[data-za-remove]")) {
    columns.findLast((column) => column.isUsed).close();
    changed();
    refreshFields();
  } else if (!columns.some((column) => column.isRunning)) {
    run();
  }
});
form.querySelector("[data-za-stop]").addEventListener("click", () => columns.forEach((column) => column.stop()));
root.addEventListener("change", scheduleFields);
root.addEventListener("input", scheduleFields);
changed();
