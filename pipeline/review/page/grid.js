// 24 photos of one predicted label at once: mark the wrong ones, confirm the rest.

import { getJson } from "./api.js";
import { element, format, get } from "./dom.js";
import { buildThumbnail } from "./thumbnails.js";

const COLUMNS = 6;

export class Grid {
  #rows = [];
  #marked = new Set();
  #cursor = 0;
  #turn = 0;
  #unseen = 0;         // pictures not there yet
  #shownAt = 0;
  label = null;
  left = 0;
  changed = () => {};  // called after each move and mark

  get wrong() {
    return this.#rows.filter((facts) => this.#marked.has(facts.row));
  }

  get right() {
    return this.#rows.filter((facts) => !this.#marked.has(facts.row));
  }

  // Show the next photos of a label; return whether there are any.
  async open(label, isDecided, after = "") {
    const turn = ++this.#turn;
    const wanted = label === null ? "" : `label=${encodeURIComponent(label)}&`;
    const { label: found, rows, left } = await getJson(`/api/grid?${wanted}after=${after}`);
    if (turn !== this.#turn) return true;  // another label was asked for meanwhile
    Object.assign(this, { label: found, left });
    this.#rows = rows.filter((facts) => !facts.blind && !isDecided(facts.row));
    this.#marked.clear();
    this.#cursor = 0;
    this.#draw();
    return this.#rows.length > 0;
  }

  // Give out the judged photos, once: what is right, and what is marked. Null while a picture is missing.
  take() {
    if (this.#unseen || !this.#rows.length) return null;
    const { right, wrong } = this, last = this.#rows.at(-1).row;
    const seconds = (performance.now() - this.#shownAt) / 1000 / this.#rows.length;
    this.#rows = [];
    return { right, wrong, seconds, last };
  }

  close() {
    this.#turn++;
    get("grid").hidden = true;
    get("stage").hidden = false;
  }

  get current() {
    return this.#rows[this.#cursor];
  }

  move(dx, dy) {
    const next = this.#cursor + dx + dy * COLUMNS;
    if (next >= 0 && next < this.#rows.length) this.#cursor = next;
    this.#update();
  }

  mark(index = this.#cursor) {
    const facts = this.#rows[index];
    if (!facts) return;
    this.#cursor = index;
    if (!this.#marked.delete(facts.row)) this.#marked.add(facts.row);
    this.#update();
  }

  // A picture is there; one that can't be seen can't be right either.
  #count(index, isSeen) {
    if (!isSeen) this.#marked.add(this.#rows[index].row);
    this.#unseen -= 1;
    this.#shownAt = performance.now();
    this.#update();
  }

  #draw() {
    this.#unseen = this.#rows.length;
    get("stage").hidden = true;
    get("grid").hidden = false;
    const title = element("h2", {}, "Which of these are not ", element("strong", { textContent: this.label }), "?");
    const cells = this.#rows.map((facts, index) => this.#cell(facts, index));
    const place = element("ol", {}, ...cells);
    const hint = element("p", { className: "quiet", id: "grid-hint" });
    get("grid").replaceChildren(title, place, hint);
    this.#update();
  }

  #cell(facts, index) {
    const image = buildThumbnail(facts.row), turn = this.#turn;
    image.ready.then((isSeen) => turn === this.#turn && this.#count(index, isSeen));
    const score = element("span", { textContent: facts.score?.toFixed(2) ?? "" });
    const cell = element("button", { type: "button", title: facts.path }, image, score);
    cell.addEventListener("click", () => this.mark(index));
    return element("li", {}, cell);
  }

  #update() {
    if (!this.#rows.length) return;
    get("grid").querySelectorAll("li").forEach((cell, index) => {
      const isWrong = this.#marked.has(this.#rows[index].row);
      cell.classList.toggle("cursor", index === this.#cursor);
      cell.classList.toggle("wrong", isWrong);
      cell.firstChild.setAttribute("aria-pressed", isWrong);
    });
    get("grid-hint").replaceChildren(element("kbd", { textContent: "Enter" }),
      ` ${this.right.length} are ${this.label} · ${this.#marked.size} marked wrong, shown one by one afterwards · `
        + `${format(this.left)} more of this label`);
    this.changed();
  }
}
