// Copy buttons, tabs, dialogs and filter menus of the panel. Pages work without it; it shows what needs it.

function copy(button) {
  const box = button.dataset.zaCopy ? document.getElementById(button.dataset.zaCopy) : button.closest(".za-code");
  const text = box.querySelector("code").textContent;
  const label = button.querySelector("span");
  const before = label.textContent;
  write(text).then(() => {
    label.textContent = button.dataset.copied;
    setTimeout(() => { label.textContent = before; }, 2000);
  });
}

// Browsers offer navigator.clipboard only over HTTPS and on localhost.
async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// <div role="tablist"><button role="tab" aria-controls="id">…; the panels are role="tabpanel" with these ids.
function select(tab, focus = false) {
  for (const other of tab.closest("[role=tablist]").querySelectorAll("[role=tab]")) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
}

function stepTabs(event) {
  const tab = event.target.closest("[role=tab]");
  if (!tab) return;
  const all = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]")];
  const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -all.indexOf(tab), End: all.length - 1 - all.indexOf(tab) };
  if (!(event.key in steps)) return;
  event.preventDefault();
  select(all[(all.indexOf(tab) + steps[event.key] + all.length) % all.length], true);
}

function click(event) {
  const target = event.target.closest("[data-za-copy], [role=tab], [data-za-open], [data-za-close]");
  if (target?.matches("[data-za-copy]")) copy(target);
  else if (target?.matches("[role=tab]")) select(target);
  else if (target?.dataset.zaOpen) document.getElementById(target.dataset.zaOpen).showModal();
  else if (target?.matches("[data-za-close]")) target.closest("dialog").close();
  for (const menu of document.querySelectorAll("details.za-menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
}

function closeMenu(event) {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.za-menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
}

// A menu that would leave the window opens to the left.
function keepInside(event) {
  const menu = event.target;
  if (!menu.matches("details.za-menu[open]")) return;
  menu.classList.remove("za-menu-end");
  const { right } = menu.querySelector("ul").getBoundingClientRect();
  menu.classList.toggle("za-menu-end", right > document.documentElement.clientWidth);
}

// Makes copy buttons, tabs and dialogs within `root` work. Call it for markup that a script adds.
export function prepare(root = document) {
  for (const button of root.querySelectorAll("[data-za-copy], [data-za-open]")) button.hidden = false;
  for (const list of root.querySelectorAll("[role=tablist]")) {
    select(list.querySelector("[role=tab][aria-selected=true]") ?? list.querySelector("[role=tab]"));
  }
}

// On a narrow screen the row of section tabs scrolls: bring the current one into view.
function showCurrentSection() {
  const current = document.querySelector(".za-tabs [aria-current]");
  const row = current?.closest(".za-tabs");
  if (row) row.scrollLeft = current.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
}

// A double click sends a form with data-za-once only once. A page that the browser shows again sends it anew.
function sendOnce(event) {
  const form = event.target;
  if (!form.matches("[data-za-once]")) return;
  if (form.dataset.zaOnce) event.preventDefault();
  form.dataset.zaOnce = "sent";
}

function allowAgain() {
  for (const form of document.querySelectorAll("[data-za-once]")) form.dataset.zaOnce = "";
}

document.addEventListener("submit", sendOnce);
window.addEventListener("pageshow", allowAgain);
document.addEventListener("click", click);
document.addEventListener("keydown", stepTabs);
document.addEventListener("keydown", closeMenu);
document.addEventListener("toggle", keepInside, true);
prepare();
showCurrentSection();
