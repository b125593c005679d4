// Reviewing with boxes: seeds from the map for each photo, and Enter for "all defects have their box".

import { getJson } from "./api.js";
import { fill } from "./dom.js";

const area = ({ x0, y0, x1, y1 }) => (x1 - x0) * (y1 - y0);

export class BoxMode {
  #seeds = new Map();    // row -> promise
  #warning = null;       // why the seeds can't be trusted
  #warned = null;        // facts of the photo whose lack of boxes was questioned

  // decide(answer): record it, and go on
  constructor({ start, display, boxes, footer, decide }) {
    Object.assign(this, { start, display, boxes, footer, decide });
    boxes.changed = () => this.describe();
    display.photoShown = () => this.offerSeeds();
  }

  #isGood(label) {
    return this.start.good_labels.includes(label.toLowerCase());
  }

  switch() {
    if (!this.start.boxes) return this.footer.say("Boxes are switched off by --no-boxes.", true);
    this.boxes.turn(!this.boxes.isOn);
    if (this.display.isReady) this.offerSeeds();
    this.describe();
  }

  leave() {
    if (this.boxes.hasSelection) this.boxes.unselect();
    else this.switch();
  }

  relabel(label) {
    this.boxes.relabel(label);
    this.offerSeeds();
  }

  async offerSeeds() {
    const { boxes, display } = this, { facts } = display;
    this.describe();
    if (!boxes.isOn || !facts) return;
    const next = display.rows.get(display.queue.ahead(1)[0]);
    const { boxes: seeds, warning } = await this.#fetch(facts);
    if (next) this.#fetch(next);
    if (display.facts?.row !== facts.row || !boxes.isOn) return;
    this.#warning = warning;
    if (boxes.label !== null && !this.#isGood(boxes.label)) boxes.propose(seeds);
    this.describe();
  }

  describe() {
    const { boxes } = this;
    this.display.draw();
    if (!boxes.isOn) return fill("box-line", null);
    const count = boxes.boxes.length, dashed = boxes.seedCount ? `, ${boxes.seedCount} dashed (a accepts)` : "";
    fill("box-line", `${count} box${count === 1 ? "" : "es"}${dashed}. Enter: complete.${this.#warning ? ` ${this.#warning}` : ""}`);
  }

  finish() {
    const drawn = this.boxes.boxes, { facts } = this.display;
    const largest = [...drawn].sort((a, b) => area(b) - area(a))[0];
    const isNamed = !drawn.length || drawn.some((box) => box.label === this.boxes.label);
    const label = isNamed ? this.boxes.label : largest.label;
    if (label === null || drawn.some((box) => box.label === null)) return this.footer.say("Which label? Press its key.", true);
    if (!drawn.length && !this.#isGood(label) && this.#warned !== facts) {
      this.#warned = facts;
      return this.footer.say(`${label}, but no box: a accepts the dashed ones, a drag draws one; Enter again: none.`, true);
    }
    this.decide({ label, boxes: drawn, isComplete: true });
  }

  #fetch({ row, blind, truth }) {
    if (blind && !truth) return Promise.resolve({ boxes: [], warning: null });
    if (!this.#seeds.has(row)) {
      this.#seeds.set(row, getJson(`/api/seeds/${row}`).catch((error) => {
        this.#seeds.delete(row);
        return { boxes: [], warning: error.message };
      }));
      if (this.#seeds.size > 20) this.#seeds.delete(this.#seeds.keys().next().value);
    }
    return this.#seeds.get(row);
  }
}
