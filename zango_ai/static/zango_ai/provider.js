// Show only the credentials of the chosen kind. Without JavaScript, all are shown and the server ignores the others.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const kind = document.getElementById("id_kind");
  if (!kind || !kind.dataset.slots) {
    return;
  }
  const slots = JSON.parse(kind.dataset.slots);
  const all = new Set(Object.values(slots).flat());
  const show = () => {
    for (const name of all) {
      const row = document.querySelector(`.form-row.field-${name}`);
      if (row) {
        row.hidden = !slots[kind.value].includes(name);
      }
    }
  };
  kind.addEventListener("change", show);
  show();
});
