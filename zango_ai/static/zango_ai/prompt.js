// Lists the placeholders of a prompt while it is typed. The pattern is that of zango_ai/prompts/rendering.py.

const PLACEHOLDER = /\{\{[ \t]*([\p{L}\p{N}_]+)[ \t]*\}\}/gu;
const text = document.getElementById("id_content");
const list = document.querySelector("[data-za-placeholders]");

function show() {
  const names = new Set([...text.value.matchAll(PLACEHOLDER)].map((match) => match[1]));
  if (names.size === 0) {
    const none = document.createElement("p");
    none.className = "za-quiet";
    none.textContent = list.dataset.none;
    list.replaceChildren(none);
    return;
  }
  const tags = document.createElement("ul");
  tags.className = "za-tags";
  for (const name of names) {
    const tag = document.createElement("li");
    tag.className = "za-tag";
    tag.textContent = `{{${name}}}`;
    tags.append(tag);
  }
  list.replaceChildren(tags);
}

if (text && list) text.addEventListener("input", show);
