/**
 * Read the streams of zango_ai's HTTP API in a browser: an ES module without dependencies.
 *
 *   import { streamEvents } from "/static/zango_ai/stream.js";
 *
 *   for await (const event of streamEvents("/ai/agents/helper/stream/", { body: { input: "Which follow-ups are open?" } })) {
 *     if (event.type === "text") output.append(event.text);
 *     if (event.type === "final") console.log(event.response.cost_usd);
 *   }
 *
 * An event is the JSON object that the server sends, with its `type` and its `id`: "text" has `text`, "tool_call" and
 * "tool_result" have `tool_call`, "final" has `response`. "round_end" ends a round of text, and "reset" makes the text
 * of the round void. Leaving the loop closes the connection, which ends a run of `agents/<name>/stream/` as cancelled.
 */

const RETRY_MS = 1000;
const MAX_RETRIES = 5;

/** An error of the server, or a connection that was lost. */
export class StreamError extends Error {
  constructor(message, { status = 0, type = "ConnectionLost", field = null } = {}) {
    super(message);
    this.name = "StreamError";
    /** The HTTP status; 200 if the run failed after the stream had begun, 0 if there was no response. */
    this.status = status;
    /** The server's name for the error, such as "RateLimitExceeded". */
    this.type = type;
    /** The field of the request that is wrong, or null. */
    this.field = field;
  }
}

/**
 * The events of one request, as an async iterator.
 *
 * `body` is an object, sent as JSON, or a FormData with files. It is sent with POST and Django's CSRF token. Without a
 * body, the request is a GET that reads a stored run (`runs/<run_id>/stream/`): if the connection is lost, it goes on
 * after the last event. `after` is the ID of the last event that was seen, `signal` an AbortSignal.
 *
 * Throws a StreamError, also for the server's event "error"; an AbortError if the signal aborts.
 */
export async function* streamEvents(url, { body = null, after = "", headers = {}, signal } = {}) {
  let lastId = after;
  for (let retries = 0; ; retries += 1) {
    const idBefore = lastId;
    try {
      const response = await request(url, { body, lastId, headers, signal });
      if (response.status === 204) return;
      for await (const { id, data } of parseEvents(response.body)) {
        lastId = id;
        const event = { ...JSON.parse(data), id };
        if (event.type === "error") throw new StreamError(event.error.message, { ...event.error, status: 200 });
        yield event;
        if (event.type === "final") return;
      }
    } catch (error) {
      if (error instanceof StreamError || error.name === "AbortError") throw error;
    }
    if (lastId !== idBefore) retries = 0;
    if (body !== null || retries >= MAX_RETRIES) throw new StreamError("The connection to the server was lost.");
    await pause(RETRY_MS * 2 ** retries, signal);
  }
}

/** Send a POST with Django's CSRF token and return the server's JSON. Throws a StreamError. */
export async function postJSON(url, body = {}) {
  return (await request(url, { body })).json();
}

/** The events of a stream of bytes in the format of server-sent events: objects with `id` and `data`. */
export async function* parseEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let id = "";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        const [, field, text] = line.match(/^([^:]*)(?:: ?)?(.*)$/s);
        if (line === "") {
          if (data.length > 0) yield { id, data: data.join("\n") };
          data = [];
        } else if (field === "data") data.push(text);
        else if (field === "id") id = text;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Django's CSRF token: that of a form on the page, or else the cookie. */
export function csrfToken() {
  const input = document.querySelector("input[name=csrfmiddlewaretoken]");
  return input ? input.value : (document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "");
}

async function request(url, { body, lastId = "", headers = {}, signal }) {
  const isForm = body instanceof FormData;
  const sent = { Accept: "text/event-stream, application/json", ...headers };
  if (lastId !== "") sent["Last-Event-ID"] = lastId;
  if (body !== null) sent["X-CSRFToken"] = csrfToken();
  if (body !== null && !isForm) sent["Content-Type"] = "application/json";
  const response = await fetch(url, {
    method: body === null ? "GET" : "POST",
    headers: sent,
    body: body === null || isForm ? body : JSON.stringify(body),
    signal,
  });
  if (response.ok) return response;
  const problem = await response.json().then((answer) => answer.error, () => undefined);
  throw new StreamError(problem?.message ?? `The server answered with status ${response.status}.`, {
    ...problem,
    status: response.status,
  });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
