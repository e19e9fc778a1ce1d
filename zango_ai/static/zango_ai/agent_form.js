// The agent's form: a summary and code that follow its values, previews of the prompts, a check of the JSON schema
// while it is typed, and a list of the provider's models. Without this script the form is a plain form.

import { prepare } from "./panel.js";
import { ModelPicker } from "./model_picker.js";

const WAIT_MS = 350;

class AgentForm {
  constructor(aside) {
    this.aside = aside;
    this.form = document.getElementById("agentconfig_form");
    this.request = null;
    this.timer = 0;
    if (!this.form) return;
    this.schema = this.form.querySelector("[name=output_json_schema]");
    if (this.schema) this.status = this.addStatus(this.schema);
    this.form.addEventListener("input", () => this.schedule());
    this.form.addEventListener("change", () => this.schedule());
    // Django's pop-up windows change a select box with jQuery's events only.
    window.addEventListener("focus", () => this.schedule());
    this.refresh();
  }

  addStatus(field) {
    const status = document.createElement("p");
    status.id = `${field.id}_status`;
    status.className = "za-field-status";
    status.setAttribute("role", "status");
    field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") ?? ""} ${status.id}`.trim());
    (field.closest(".flex-container") ?? field).after(status);
    return status;
  }

  schedule() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), WAIT_MS);
  }

  async refresh() {
    this.request?.abort();
    this.request = new AbortController();
    const body = new FormData(this.form);
    try {
      const response = await fetch(this.aside.dataset.summaryUrl, { method: "POST", body, signal: this.request.signal });
      if (response.ok) this.show(await response.json());
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }

  show(parts) {
    for (const part of document.querySelectorAll("[data-za-part]")) {
      const html = parts[part.dataset.zaPart];
      if (html === undefined || part.shown === html) continue;
      const tab = part.querySelector("[role=tab][aria-selected=true]")?.id;
      part.innerHTML = part.shown = html;
      prepare(part);
      if (tab) document.getElementById(tab)?.click();
    }
    if (!this.schema) return;
    const { tone, text } = parts.schema;
    this.status.textContent = text;
    this.status.dataset.tone = tone;
    if (tone === "bad") this.schema.setAttribute("aria-invalid", "true");
    else this.schema.removeAttribute("aria-invalid");
  }
}

const aside = document.querySelector("[data-za-agent]");
if (aside) {
  new AgentForm(aside);
  const input = document.querySelector("input[name=model]");
  const provider = document.querySelector("select[name=provider]");
  if (input && provider) new ModelPicker(input, provider, aside.dataset);
}
