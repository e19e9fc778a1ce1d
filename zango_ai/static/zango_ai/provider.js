// A provider's form: test the connection and fetch models with the values typed so far, and replace a saved key.

import { prepare } from "./panel.js";

const box = document.querySelector("[data-za-connect]");
const form = box?.closest("form");

async function ask(url, busy) {
  const answer = box.querySelector("[data-za-answer]");
  const buttons = box.querySelectorAll("[data-za-test], [data-za-fetch]");
  for (const button of buttons) button.disabled = true;
  answer.textContent = busy;
  try {
    const response = await fetch(url, { method: "POST", body: new FormData(form) });
    if (!response.ok) throw new Error(response.statusText);
    answer.innerHTML = await response.text();
    prepare(answer);
  } catch {
    answer.textContent = box.dataset.failed;
  }
  for (const button of buttons) button.disabled = false;
}

function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of input.closest("fieldset").querySelectorAll("li")) {
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  }
}

function click(event) {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.matches("[data-za-test]")) ask(box.dataset.testUrl, box.dataset.testing);
  else if (button.matches("[data-za-fetch]")) ask(box.dataset.fetchUrl, box.dataset.fetching);
  else if (button.matches("[data-za-all]")) {
    for (const each of button.closest("fieldset").querySelectorAll("li:not([hidden]) input:enabled")) each.checked = true;
  } else if (button.matches("[data-za-default]")) {
    form.elements.default_model.value = button.dataset.zaDefault;
    form.elements.default_model.focus();
  } else if (button.matches("[data-za-replace]")) {
    const input = button.closest(".za-secret").querySelector("input");
    button.closest(".za-secret-state").hidden = true;
    input.hidden = false;
    input.focus();
  }
}

if (box) {
  for (const button of box.querySelectorAll("[data-za-test], [data-za-fetch]")) button.hidden = false;
  box.addEventListener("input", (event) => event.target.matches("[data-za-filter]") && filter(event.target));
  // Enter in the filter must not save the form.
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("[data-za-filter]")) event.preventDefault();
  });
}
for (const secret of document.querySelectorAll("[data-za-saved]")) {
  secret.querySelector("[data-za-replace]").hidden = false;
  secret.querySelector("input").hidden = true;
}
document.addEventListener("click", click);
