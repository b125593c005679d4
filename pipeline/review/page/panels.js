// What opens beside the photo, one at a time: keys, guide, similar photos, note, search of labels. Never over the photo.

import { getJson } from "./api.js";
import { HELP } from "./commands.js";
import { element, get } from "./dom.js";
import { buildThumbnail } from "./thumbnails.js";
import { buildTypeahead } from "./typeahead.js";

export class Panels {
  #name = null;
  #facts = null;
  #label = null;
  #turn = 0;

  // visit(facts): a picture was clicked; classes(): all classes
  constructor({ visit, classes }) {
    Object.assign(this, { visit, classes });
  }

  get isOpen() {
    return this.#name !== null;
  }

  // Another photo is shown. Panels about it follow, text fields close.
  follow(facts, label) {
    this.#facts = facts;
    this.#label = label ?? this.#label;
    if (this.#name === "similar" || this.#name === "guide") this.#load(this.#name);
    else if (this.#name !== "keys") this.close();
  }

  close() {
    this.#turn++;
    this.#name = null;
    get("panel").hidden = true;
    get("panel").replaceChildren();
  }

  toggle(name) {
    if (this.#name === name) this.close();
    else if (name === "keys") this.#show(name, "Keys", ...this.#buildKeys());
    else this.#load(name);
  }

  askNote(text, save) {
    const field = element("textarea", { value: text ?? "", rows: 3, maxLength: 2000 });
    field.setAttribute("aria-label", "Note");
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" && !event.shiftKey) save(field.value.trim());
      else if (event.key !== "Escape") return;
      event.preventDefault();
      this.close();
    });
    this.#show("note", "Note", field, element("p", { className: "quiet", textContent:
      "Enter keeps it for your decision about this photo, Escape drops it." }));
    field.focus();
  }

  askLabel(choose, add) {
    const { field, content } = buildTypeahead({ classes: this.classes, choose, add, close: () => this.close() });
    this.#show("label", "Label", ...content);
    field.focus();
  }

  #show(name, title, ...content) {
    this.#turn++;
    this.#name = name;
    const close = element("button", { type: "button", textContent: "×" });
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => this.close());
    get("panel").replaceChildren(element("h2", {}, element("span", { textContent: title }), close), ...content);
    get("panel").hidden = false;
  }

  async #load(name) {
    const facts = this.#facts, label = this.#label ?? this.classes().find((each) => !each.retired)?.name;
    const title = name === "guide" ? `Guide: ${label ?? ""}` : "Similar photos";
    if (name === "similar" && facts.blind) return this.#show(name, title, this.#say("Hidden until you have answered."));
    if (this.#name !== name) this.#show(name, title, this.#say("…"));
    const turn = ++this.#turn;
    const path = name === "guide" ? `guide?class=${encodeURIComponent(label)}` : `similar/${facts.row}`;
    const answer = await getJson(`/api/${path}`).catch((error) => ({ error: error.message }));
    if (turn !== this.#turn) return;
    if (answer.error) this.#show(name, title, this.#say(answer.error));
    else this.#show(name, title, ...(name === "guide" ? this.#buildGuide(answer, label) : [this.#buildCards(answer.rows)]));
  }

  #say(text) {
    return element("p", { className: "quiet", textContent: text });
  }

  #buildGuide({ guide, examples, counter, borderline }, label) {
    const chooser = element("p", { className: "chooser" });
    for (const each of this.classes().filter((one) => !one.retired)) {
      const button = element("button", { type: "button", textContent: each.name });
      button.setAttribute("aria-pressed", each.name === label);
      button.addEventListener("click", () => {
        this.#label = each.name;
        this.#load("guide");
      });
      chooser.append(button);
    }
    const parts = [[`Reviewed as ${label}`, examples], [`Taken for ${label}, wrongly`, counter], ["Borderline", borderline]];
    const found = parts.filter(([, rows]) => rows.length);
    if (!guide && !found.length) found.push(["Nothing has been reviewed as this label yet.", []]);
    return [chooser, element("p", { textContent: guide }),
      ...found.flatMap(([title, rows]) => [element("h3", { textContent: title }), this.#buildCards(rows)])];
  }

  #buildCards(rows) {
    return element("ol", { className: "cards" }, ...rows.map((facts) => {
      const said = facts.truth?.label ?? facts.truth?.state;
      const text = said ? `${said} ✓` : facts.blind ? "blind" : `${facts.label} ${facts.score?.toFixed(2) ?? ""}`;
      const button = element("button", { type: "button", title: facts.path }, buildThumbnail(facts.row),
        element("span", { textContent: text }));
      button.addEventListener("click", () => this.visit(facts));
      return element("li", {}, button);
    }));
  }

  // The keys of the mode first.
  #buildKeys() {
    const { mode } = document.body.dataset, parts = [HELP[mode], ...Object.values(HELP).filter((part) => part !== HELP[mode])];
    return parts.flatMap(([title, keys]) => [element("h3", { textContent: title }),
      element("dl", {}, ...keys.flatMap(([key, text]) =>
        [element("dt", {}, element("kbd", { textContent: key })), element("dd", { textContent: text })]))]);
  }
}
