// A text field for a model's name that lists the provider's models with their prices and abilities, as an ARIA combobox.

const MAX_SHOWN = 100;

export class ModelPicker {
  // `texts` has the address of the models and the texts to show: modelsUrl, loading, failed, unlisted, refused, standard;
  // isBrief: say no more than the price below the field.
  constructor(input, provider, texts) {
    Object.assign(this, { input, provider, texts, models: [], active: -1, answer: null });
    input.removeAttribute("list");
    this.list = this.makeList();
    this.info = this.makeInfo();
    provider.addEventListener("change", () => this.load());
    input.addEventListener("focus", () => this.open(""));
    input.addEventListener("click", () => this.open(""));
    input.addEventListener("input", () => { this.open(input.value); this.describe(); });
    input.addEventListener("keydown", (event) => this.step(event));
    input.addEventListener("blur", () => this.close());
    this.load();
  }

  makeList() {
    const list = document.createElement("ul");
    list.id = `${this.input.id}_models`;
    list.className = "za-models";
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", document.querySelector(`label[for="${this.input.id}"]`)?.textContent ?? "");
    list.hidden = true;
    list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // or the field loses the focus before the click
      const option = event.target.closest("[role=option]");
      if (option) this.choose(option.dataset.id);
    });
    const attributes = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id };
    for (const [name, value] of Object.entries(attributes)) this.input.setAttribute(name, value);
    const anchor = document.createElement("div");
    anchor.className = "za-models-anchor";
    this.input.after(anchor);
    anchor.append(this.input, list);
    return list;
  }

  makeInfo() {
    const info = document.createElement("p");
    info.id = `${this.input.id}_info`;
    info.className = "za-field-status";
    info.setAttribute("role", "status");
    this.input.setAttribute("aria-describedby", `${this.input.getAttribute("aria-describedby") ?? ""} ${info.id}`.trim());
    (this.input.closest(".flex-container") ?? this.list.parentElement).after(info);
    return info;
  }

  async load() {
    const key = this.provider.value;
    this.models = [];
    this.answer = null;
    if (!key) return this.say("");
    this.say(this.texts.loading);
    try {
      const response = await fetch(`${this.texts.modelsUrl}?provider=${encodeURIComponent(key)}`);
      if (!response.ok) throw new Error(response.statusText);
      const answer = await response.json();
      if (this.provider.value !== key) return;
      this.answer = answer;
      this.models = answer.models;
      if (answer.error) this.say(answer.error, "bad");
      else this.describe();
      if (document.activeElement === this.input) this.open("");
    } catch {
      this.say(this.texts.failed, "warn");
    }
  }

  // What is known of the model in the field, below the field.
  describe() {
    if (!this.answer || this.answer.error) return;
    const name = this.input.value.trim() || this.answer.default_model;
    const model = this.models.find((each) => each.id === name);
    if (!name) return this.say("");
    if (!model) {
      const text = this.answer.is_closed ? this.texts.refused : this.texts.unlisted;
      return this.say(this.models.length ? text : "", "warn");
    }
    const own = this.input.value.trim() ? [] : [`${name} (${this.texts.standard})`];
    const facts = "isBrief" in this.texts ? [model.price] : [model.price, model.abilities.join(", "), model.context];
    this.say([...own, ...facts, model.retires].filter(Boolean).join(" · "), model.retires ? "warn" : "");
  }

  say(text, tone = "") {
    this.info.textContent = text;
    this.info.dataset.tone = tone;
  }

  open(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.models.filter((model) => words.every((word) => model.id.toLowerCase().includes(word)));
    this.list.replaceChildren(...found.slice(0, MAX_SHOWN).map((model, index) => this.option(model, index)));
    this.active = -1;
    this.setOpen(found.length > 0);
    this.list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  option(model, index) {
    const option = document.createElement("li");
    option.id = `${this.list.id}_${index}`;
    option.dataset.id = model.id;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", model.id === this.input.value);
    const name = document.createElement("b");
    name.textContent = model.id;
    const facts = document.createElement("span");
    const standard = model.id === this.answer.default_model ? this.texts.standard : "";
    facts.textContent = [standard, model.price, model.abilities.join(", "), model.retires].filter(Boolean).join(" · ");
    option.append(name, facts);
    return option;
  }

  step(event) {
    const options = [...this.list.children];
    if (event.key === "Escape" && !this.list.hidden) {
      event.stopPropagation();
      this.close();
    } else if (event.key === "Enter" && this.active >= 0 && !this.list.hidden) {
      event.preventDefault();
      this.choose(options[this.active].dataset.id);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) return this.open("");
      const move = event.key === "ArrowDown" ? 1 : -1;
      this.active = (this.active + move + options.length + (this.active < 0 && move < 0 ? 1 : 0)) % options.length;
      options.forEach((option, index) => option.classList.toggle("za-active", index === this.active));
      options[this.active].scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", options[this.active].id);
    }
  }

  choose(id) {
    this.input.value = id;
    this.close();
    this.describe();
    this.input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  close() {
    this.setOpen(false);
  }

  setOpen(isOpen) {
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", isOpen);
    this.input.removeAttribute("aria-activedescendant");
  }
}
