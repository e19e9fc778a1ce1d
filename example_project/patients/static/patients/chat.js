// Streams the chat's answers. Without this script, the page's forms are sent as usual.
import { StreamError, streamEvents } from "../zango_ai/stream.js";

const conversation = document.getElementById("conversation");
const progress = document.getElementById("progress");
const ask = document.getElementById("ask");
const decide = document.getElementById("decide");
const question = document.getElementById("question");
const stop = document.getElementById("stop");
let running = null;

ask.addEventListener("submit", (event) => {
  event.preventDefault();
  const input = question.value.trim();
  if (running !== null || input === "") return;
  add("question", input);
  question.value = "";
  show(ask.dataset.url, { input, session_id: ask.dataset.session });
});

decide.addEventListener("submit", (event) => {
  event.preventDefault();
  const approvals = {};
  for (const choice of decide.querySelectorAll("input[type=radio]:checked")) {
    approvals[choice.name] = choice.value === "yes";
  }
  ask.hidden = false;
  decide.hidden = true;
  question.focus();
  show(decide.dataset.url.replace("RUN", decide.dataset.run), { approvals });
});

stop.addEventListener("click", () => running?.abort());

/** Send the request, and show its events until the run ends. */
async function show(url, body) {
  running = new AbortController();
  stop.hidden = false;
  conversation.setAttribute("aria-busy", "true"); // screen readers read the answer when it is complete
  progress.textContent = "The agent is answering…";
  try {
    await showEvents(streamEvents(url, { body, signal: running.signal }));
  } catch (error) {
    if (!(error instanceof StreamError) && error.name !== "AbortError") throw error;
    if (error.name === "AbortError") progress.textContent = "Stopped.";
    else fail(error.message);
  } finally {
    running = null;
    if (stop === document.activeElement) question.focus();
    stop.hidden = true;
    conversation.removeAttribute("aria-busy");
  }
}

async function showEvents(events) {
  const calls = new Map();
  let answer = null;
  for await (const event of events) {
    if (event.type === "text") {
      answer ??= add("answer");
      answer.textContent += event.text;
    } else if (event.type === "reset") {
      answer?.remove();
      answer = null;
    } else if (event.type === "round_end") {
      answer = null;
    } else if (event.type === "tool_call") {
      calls.set(event.tool_call.id, add("tool", `Calling ${event.tool_call.name}…`));
      progress.textContent = `Calling ${event.tool_call.name}…`;
    } else if (event.type === "tool_result") {
      const line = calls.get(event.tool_call.id) ?? add("tool");
      line.textContent = `${event.tool_call.name}: ${event.tool_call.status.replaceAll("_", " ")}`;
    } else if (event.type === "final") {
      finish(event.response);
    }
  }
}

function finish(response) {
  if (response.pending_approvals.length === 0) {
    const isCutOff = response.stop_reason === "max_tokens";
    progress.textContent = isCutOff ? "Cut off at the agent's max tokens." : "Answered.";
    return;
  }
  const calls = response.pending_approvals.map(fieldsetOf);
  document.getElementById("calls").replaceChildren(...calls);
  decide.dataset.run = response.run_id;
  decide.hidden = false;
  ask.hidden = true;
  progress.textContent = "The agent needs your approval.";
  decide.querySelector("input[type=radio]").focus();
}

function fieldsetOf(call) {
  const fieldset = document.getElementById("call").content.cloneNode(true);
  fieldset.querySelector("code").textContent = call.tool_name;
  for (const [name, value] of Object.entries(call.arguments)) {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = name;
    description.textContent = typeof value === "string" ? value : JSON.stringify(value);
    fieldset.querySelector("dl").append(term, description);
  }
  for (const choice of fieldset.querySelectorAll("input")) choice.name = call.id;
  return fieldset;
}

function add(className, text = "") {
  conversation.querySelector(".note")?.remove();
  const paragraph = document.createElement("p");
  paragraph.className = className;
  paragraph.textContent = text;
  conversation.append(paragraph);
  paragraph.scrollIntoView({ block: "nearest" });
  return paragraph;
}

function fail(message) {
  progress.textContent = "";
  const error = add("error", message);
  error.setAttribute("role", "alert");
}
