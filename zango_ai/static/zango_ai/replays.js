// Renews the results of a batch while its replays are executed. What the reader has unfolded stays.

import { prepareUnfolding } from "./invocations.js";

const LEAST_MS = 1500;
const MOST_MS = 20000;
const REST = 4; // The server works for a fifth of the time at most, however long the batch is.

async function renew() {
  const begun = performance.now();
  if (!document.hidden) await load();
  if (!document.querySelector("[data-za-working]")) return;
  const took = performance.now() - begun;
  setTimeout(renew, Math.min(MOST_MS, Math.max(LEAST_MS, REST * took)));
}

async function load() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (response.redirected) location.reload(); // The session has ended.
    else if (response.ok) show(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    // The server cannot be reached for the moment.
  }
}

function show(page) {
  for (const part of document.querySelectorAll("[data-za-live]:not(tr)")) {
    const fresh = page.getElementById(part.id);
    if (fresh && fresh.dataset.zaLive !== part.dataset.zaLive) part.replaceWith(document.importNode(fresh, true));
  }
  const body = document.querySelector("#za-batch-rows tbody");
  let last = null;
  for (const fresh of page.querySelectorAll("#za-batch-rows tbody tr")) {
    last = lastRowOf(showRow(body, fresh, last));
  }
}

// A view such as ?show=different has rows that were not there before.
function showRow(body, fresh, before) {
  const shown = document.getElementById(fresh.id);
  if (shown?.dataset.zaLive === fresh.dataset.zaLive) return shown;
  const row = document.importNode(fresh, true);
  if (shown) shown.replaceWith(row);
  else if (before) before.after(row);
  else body.prepend(row);
  prepareUnfolding(row);
  return row;
}

function lastRowOf(row) {
  const below = row.nextElementSibling;
  return below?.matches(".za-unfolded") ? below : row;
}

setTimeout(renew, LEAST_MS);
