// Reviewing by the grid: confirm what is right, and look at the rest one by one.

import { Grid } from "./grid.js";

export class GridMode {
  isOpen = false;  // from the key on, before the photos have come

  constructor({ display, decisions, footer, panels }) {
    Object.assign(this, { display, decisions, footer, panels, grid: new Grid() });
    this.grid.changed = () => display.side.show(this.grid.current, { shown: this.grid.label });
  }

  async open(label, after = "") {
    const { queue } = this.display, isDecided = (row) => queue.decided.has(row) || queue.others.has(row);
    this.isOpen = this.display.isCovered = true;
    this.display.suspend();
    this.display.draw();
    this.panels.close();
    try {
      if (!await this.grid.open(label, isDecided, after)) this.close(`No more photos of ${this.grid.label} for the grid.`);
    } catch (error) {
      this.close(`The grid can't be shown: ${error.message}`);
    }
  }

  close(text = "") {
    this.grid.close();
    this.isOpen = this.display.isCovered = false;
    this.display.resume(text);
  }

  confirm() {
    const taken = this.grid.take(), { label } = this.grid;
    if (!taken) return this.footer.say("Some pictures are still on their way.", true);
    const { right, wrong, seconds, last } = taken;
    for (const facts of right) {
      this.decisions.add(facts, { label, how: "grid", seconds });
      this.footer.took(seconds);
    }
    this.display.rows.put(...wrong);
    this.display.queue.insert(wrong.map((facts) => facts.row));
    const text = wrong.length ? `, ${wrong.length} to look at after the grid` : "";
    this.footer.say(`${right.length} confirmed as ${label}${text}`);
    this.display.draw();
    this.open(label, last);
  }
}
