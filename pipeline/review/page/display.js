// The photo on the screen, and the way from one to the next.

import { fill, get } from "./dom.js";
import { buildThumbnail } from "./thumbnails.js";

const AHEAD = 4;               // photos decoded before they are needed
const THUMBNAIL_AFTER = 300;   // milliseconds

export class Display {
  facts = null;      // of the photo on the screen
  label = null;      // for Enter to confirm; null without one
  note = null;       // for the decision to come
  shownAt = null;    // time of the photo's paint; null: not painted, not to be judged
  counts = null;     // as the server has them
  isCovered = false; // by the grid

  // parts: {queue, rows, photos, view, layers, boxes, side, panels, footer}
  constructor(parts) {
    Object.assign(this, parts);
    this.photoShown = () => {};  // called with each photo
  }

  get isReady() {
    return this.shownAt !== null;
  }

  get seconds() {
    return (performance.now() - this.shownAt) / 1000;
  }

  // Whether nobody can see the photo: it is gone, or broken.
  get isGone() {
    return Boolean(this.photos.get(this.facts.row)?.error);
  }

  async show(place, text) {
    const { queue, rows, photos, view } = this;
    queue.place = place;
    this.suspend();
    if (text !== undefined) this.footer.say(text);
    const { row } = queue, isCurrent = () => queue.place === place && queue.row === row;
    photos.keep(row, [...queue.ahead(AHEAD), ...queue.behind()]);
    const facts = rows.get(row) ?? await rows.load(row, queue.ahead(63)).catch(() => null);
    if (!isCurrent()) return;
    if (!facts) return void setTimeout(() => isCurrent() && this.show(place), 1000);  // no server: try again
    rows.prepare(queue.ahead(64));
    this.load(facts);
    if (!photos.get(row)) {
      this.#showThumbnail(facts, isCurrent);
      await photos.ready(row);
    }
    if (isCurrent() && photos.get(row)) this.#showPhoto(photos.get(row));
  }

  // Take facts of a photo to the side, and its boxes onto the stage.
  load(facts) {
    const truth = facts.truth?.stale ? null : facts.truth;
    Object.assign(this, { facts, note: null, label: truth?.label ?? facts.label });
    this.boxes.load(truth?.boxes ?? [], this.label);
    this.draw();
    this.panels.follow(facts, this.label);
  }

  draw() {
    const { queue, boxes, note, counts } = this;
    const label = boxes.isOn ? boxes.label : this.label;
    document.body.dataset.mode = this.isCovered ? "grid" : boxes.isOn ? "boxes" : "photo";
    if (this.facts && !this.isCovered) this.side.show(this.facts, { place: queue.place, total: queue.length, shown: label, note });
    this.footer.showProgress(queue.done, queue.total, counts);
  }

  step(by) {
    const place = this.queue.place + by;
    if (place >= 0 && place < this.queue.length) this.show(place, "");
  }

  goOn(text) {
    const { place, passed, isWrapped } = this.queue.findNext();
    if (passed.length) {
      const names = [...new Set(passed.map((row) => this.queue.others.get(row)))].join(", ");
      text += ` · skipped ${passed.length === 1 ? "a photo" : `${passed.length} photos`} decided meanwhile by ${names}`;
    }
    if (place < 0) return this.#finish(text);
    this.show(place, isWrapped ? `${text} · back to the photos passed over` : text);
  }

  // No decision until the photo is shown again.
  suspend() {
    this.shownAt = null;
    delete get("stage").dataset.painted;
  }

  resume(text) {
    this.queue.place -= 1;
    this.goOn(text);
  }

  // Show a photo out of turn; the queue goes on behind it.
  visit(facts) {
    if (!this.rows.get(facts.row)) this.rows.put(facts);
    this.queue.insert([facts.row]);
    this.step(1);
  }

  // Bridge a long wait, as for a photo in a format that the server must convert first.
  #showThumbnail({ row, width, height }, isCurrent) {
    const isWaiting = () => isCurrent() && !this.photos.get(row);
    fill("gone", null);
    this.view.show(null, width, height);
    setTimeout(async () => {
      const small = isWaiting() && buildThumbnail(row);
      if (small && await small.ready && isWaiting()) this.view.show(small, width, height);
    }, THUMBNAIL_AFTER);
  }

  #showPhoto({ image, error }) {
    const { facts, queue } = this;
    fill("gone", error && `${error} – press x or u, or → to go on`);
    this.view.show(image, facts.width, facts.height);
    this.layers.show(facts, this.rows.get(queue.ahead(1)[0]));
    this.photoShown();
    requestAnimationFrame(() => setTimeout(() => {
      if (queue.row !== facts.row) return;
      this.shownAt = performance.now();
      get("stage").dataset.painted = facts.row;
      performance.clearMarks("painted");
      performance.mark("painted", { detail: facts.row });
    }));
  }

  #finish(text) {
    const { queue } = this;
    this.suspend();
    this.facts = null;
    queue.place = queue.length;
    this.footer.say(text);
    this.draw();
    this.side.clear();
    this.view.show(null, 1, 1);
    fill("gone", queue.total ? "All photos of this queue are decided. z takes the last one back." : "Nothing to review.");
  }
}
