// Unfolds more of a run below its row. Without this script, the link leads to a page.

import { prepare } from "./panel.js";

async function unfold(link) {
  const row = link.closest("tr");
  const below = row.nextElementSibling;
  if (below?.matches(".za-unfolded")) {
    below.hidden = !below.hidden;
    link.setAttribute("aria-expanded", !below.hidden);
    return;
  }
  if (link.ariaBusy === "true") return;
  link.ariaBusy = "true";
  try {
    const answer = await fetch(link.dataset.zaUnfold, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(answer.status);
    insertBelow(row, await answer.text());
    link.setAttribute("aria-expanded", "true");
  } catch {
    location.assign(link.href);
  } finally {
    link.ariaBusy = "false";
  }
}

function insertBelow(row, html) {
  const cell = document.createElement("td");
  cell.colSpan = row.cells.length;
  cell.innerHTML = html;
  const unfolded = document.createElement("tr");
  unfolded.className = "za-unfolded";
  unfolded.append(cell);
  row.after(unfolded);
  prepare(unfolded);
}

// Makes the links within `root` unfold. Call it for rows that a script adds.
export function prepareUnfolding(root = document) {
  for (const link of root.querySelectorAll("[data-za-unfold]")) {
    link.setAttribute("role", "button");
    link.setAttribute("aria-expanded", "false");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      unfold(link);
    });
    link.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      unfold(link);
    });
  }
}

prepareUnfolding();
