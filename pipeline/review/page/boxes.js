// Boxes around defects, in upright pixels of the photo: drawn, moved and resized by mouse or keys. Boxes proposed from
// the heat map are dashed; they count only once accepted or changed.

import { get, svgElement } from "./dom.js";

const GRIP = 9;         // pixels of the screen around an edge or a corner
const SMALLEST = 2;     // pixels of the photo
const CURSORS = { "": "move", n: "ns-resize", s: "ns-resize", w: "ew-resize", e: "ew-resize",
  nw: "nwse-resize", se: "nwse-resize", ne: "nesw-resize", sw: "nesw-resize" };

const between = (value, low, high) => Math.min(high, Math.max(low, value));

export class BoxEditor {
  #items = [];        // {x0, y0, x1, y1, label, source, note, isSeed}
  #selected = -1;
  #past = [];         // earlier states of #items, for undo
  #resizes = false;   // arrows move the lower right corner
  label = null;       // of new boxes
  isOn = false;

  // colourOf(label) -> #rrggbb
  constructor(view, colourOf) {
    Object.assign(this, { view, colourOf, svg: get("boxes"), changed: () => {} });
    view.changed = () => this.#draw();
    this.svg.addEventListener("pointerdown", (event) => this.#drag(event));
    this.svg.addEventListener("pointermove", (event) => {
      if (this.isOn && !event.buttons) this.svg.style.cursor = this.#find(event)?.cursor ?? "crosshair";
    });
  }

  get boxes() {
    return this.#items.filter((item) => !item.isSeed).map(({ isSeed, ...box }) => box);
  }

  get seedCount() {
    return this.#items.filter((item) => item.isSeed).length;
  }

  get hasSelection() {
    return this.#selected >= 0;
  }

  load(boxes, label) {
    this.#items = boxes.map((box) => ({ ...box }));
    this.#past = [];
    this.#selected = -1;
    this.label = label;
    this.#draw();
  }

  turn(isOn) {
    this.isOn = isOn;
    if (!isOn) this.#selected = -1;
    this.#draw();
  }

  // Add seeds, unless somebody has begun to draw.
  propose(seeds) {
    if (this.#items.length) return;
    this.#items = seeds.map(({ x0, y0, x1, y1 }) => ({ ...this.#clip({ x0, y0, x1, y1 }), source: "map", isSeed: true,
      label: this.label, note: null }));
    this.#draw();
    this.changed();
  }

  acceptAll() {
    this.#edit(() => this.#items.forEach((item) => (item.isSeed = false)));
  }

  acceptSelected() {
    if (!this.#items[this.#selected]?.isSeed) return false;
    this.#edit(() => (this.#items[this.#selected].isSeed = false));
    return true;
  }

  next(by) {
    const count = this.#items.length;
    if (count) this.#selected = this.#selected < 0 ? (by > 0 ? 0 : count - 1) : (this.#selected + by + count) % count;
    this.#resizes = false;
    this.#draw();
    this.changed();
  }

  unselect() {
    this.#selected = -1;
    this.#draw();
    this.changed();
  }

  remove() {
    if (!this.hasSelection) return;
    this.#edit(() => this.#items.splice(this.#selected, 1));
    this.#selected = Math.min(this.#selected, this.#items.length - 1);
    this.#draw();
  }

  // Label the selected box; without one, new boxes and all that had the former label.
  relabel(label) {
    const former = this.label;
    this.#edit(() => {
      if (this.hasSelection) return Object.assign(this.#items[this.#selected], { label, isSeed: false });
      this.label = label;
      for (const item of this.#items) if (item.label === former) item.label = label;
    });
  }

  // Add a box in the middle of what is on the screen, to be moved by keys.
  addInTheMiddle() {
    const frame = this.view.stage.getBoundingClientRect();
    const corner = (share) => this.view.toPhoto({
      clientX: frame.left + frame.width * share, clientY: frame.top + frame.height * share });
    const [start, end] = [corner(0.45), corner(0.55)];
    this.#add({ x0: start.x, y0: start.y, x1: end.x, y1: end.y });
  }

  switchResizing() {
    this.#resizes = !this.#resizes;
    this.#draw();
  }

  nudge(dx, dy) {
    this.#edit(() => {
      const item = this.#items[this.#selected];
      if (this.#resizes) this.#change(item, { ...item, x1: item.x1 + dx, y1: item.y1 + dy });
      else this.#change(item, this.#moved(item, dx, dy));
    }, "nudge");
  }

  undo() {
    if (!this.#past.length) return false;
    const { items, label, selected } = this.#past.pop();
    this.#items = items;
    this.#selected = selected;
    this.label = label;
    this.#draw();
    this.changed();
    return true;
  }

  #edit(action, kind = null) {
    // many nudges in a row are undone as one
    if (!kind || this.#past.at(-1)?.kind !== kind)
      this.#past.push({ items: this.#items.map((item) => ({ ...item })), label: this.label, selected: this.#selected, kind });
    action();
    this.#draw();
    this.changed();
  }

  #add(box) {
    this.#edit(() => {
      this.#items.push({ ...this.#clip(box), label: this.label, source: "drawn", note: null, isSeed: false });
      this.#selected = this.#items.length - 1;
    });
  }

  // Whole pixels inside the photo.
  #clip({ x0, y0, x1, y1 }) {
    const { width, height } = this.view;
    const sides = (a, b, length) => {
      const low = between(Math.round(Math.min(a, b)), 0, length - 1);
      return [low, between(Math.round(Math.max(a, b)), low + 1, length)];
    };
    const [left, right] = sides(x0, x1, width), [top, bottom] = sides(y0, y1, height);
    return { x0: left, y0: top, x1: right, y1: bottom };
  }

  #moved({ x0, y0, x1, y1 }, dx, dy) {
    dx = between(dx, -x0, this.view.width - x1);
    dy = between(dy, -y0, this.view.height - y1);
    return { x0: x0 + dx, y0: y0 + dy, x1: x1 + dx, y1: y1 + dy };
  }

  #change(item, sides) {
    Object.assign(item, this.#clip(sides), { isSeed: false, source: item.source === "map" ? "edited" : item.source });
  }

  // What lies under the pointer: {index, edges, cursor}, edges among n, s, w, e.
  #find(event) {
    const { x, y } = this.view.toPhoto(event), reach = GRIP / this.view.scale;
    const hits = this.#items.map((item, index) => {
      const inside = x > item.x0 - reach && x < item.x1 + reach && y > item.y0 - reach && y < item.y1 + reach;
      const near = (value, edge, length) => Math.abs(value - edge) < Math.min(reach, length / 3 + reach / 3);
      const edges = (near(y, item.y0, item.y1 - item.y0) ? "n" : near(y, item.y1, item.y1 - item.y0) ? "s" : "")
        + (near(x, item.x0, item.x1 - item.x0) ? "w" : near(x, item.x1, item.x1 - item.x0) ? "e" : "");
      return { index, edges, inside, cursor: CURSORS[edges], area: (item.x1 - item.x0) * (item.y1 - item.y0) };
    }).filter((hit) => hit.inside);
    return hits.find((hit) => hit.index === this.#selected) ?? hits.sort((a, b) => a.area - b.area)[0];
  }

  #drag(event) {
    if (!this.isOn || event.button !== 0 || event.ctrlKey) return;
    event.preventDefault();
    const start = this.view.toPhoto(event), hit = event.shiftKey ? undefined : this.#find(event);
    this.svg.setPointerCapture(event.pointerId);
    if (hit) this.#selected = hit.index;
    const item = hit && this.#items[hit.index], before = item && { ...item };
    let draft = null, isChanged = false;
    const move = (moved) => {
      const { x, y } = this.view.toPhoto(moved), dx = x - start.x, dy = y - start.y;
      if (!isChanged && Math.hypot(dx, dy) * this.view.scale < 3) return;  // a click that trembles
      if (item && !isChanged) this.#edit(() => {});
      isChanged = true;
      if (!item) draft = this.#clip({ x0: start.x, y0: start.y, x1: x, y1: y });
      else if (!hit.edges) this.#change(item, this.#moved(before, dx, dy));
      else this.#change(item, {
        x0: before.x0 + (hit.edges.includes("w") ? dx : 0), x1: before.x1 + (hit.edges.includes("e") ? dx : 0),
        y0: before.y0 + (hit.edges.includes("n") ? dy : 0), y1: before.y1 + (hit.edges.includes("s") ? dy : 0),
      });
      this.#draw(draft);
    };
    this.svg.addEventListener("pointermove", move);
    this.svg.addEventListener("lostpointercapture", () => {
      this.svg.removeEventListener("pointermove", move);
      if (draft && draft.x1 - draft.x0 >= SMALLEST && draft.y1 - draft.y0 >= SMALLEST) this.#add(draft);
      else if (!item) this.#selected = -1;
      this.#draw();
      this.changed();
    }, { once: true });
  }

  #draw(draft = null) {
    const { width, height, scale } = this.view;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.classList.toggle("on", this.isOn);
    const shapes = this.#items.flatMap((item, index) => this.#shapes(item, index === this.#selected, 1 / scale));
    if (draft) shapes.push(...this.#shapes({ ...draft, label: this.label, isSeed: false }, true, 1 / scale));
    this.svg.replaceChildren(...shapes);
  }

  // One box; `pixel` is the size of a pixel of the screen.
  #shapes(item, isSelected, pixel) {
    const { x0, y0, x1, y1, label, isSeed } = item;
    const colour = this.colourOf(label);
    const sides = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
    const back = svgElement("rect", { ...sides, class: "back" });
    const front = svgElement("rect", { ...sides, class: isSeed ? "box seed" : "box", stroke: colour });
    if (isSelected) front.classList.add("selected");
    const isAbove = y0 > 20 * pixel;
    const name = svgElement("text", { x: x0, y: isAbove ? y0 - 5 * pixel : y1 + 16 * pixel, fill: colour,
      "font-size": 14 * pixel, "stroke-width": 4 * pixel });
    name.textContent = label === null ? "which label?" : isSeed ? `${label} ?` : label;
    const size = 8 * pixel;
    const corners = isSelected && this.isOn ? [[x0, y0], [x1, y0], [x0, y1], [x1, y1]] : [];
    return [back, front, name, ...corners.map(([x, y]) => svgElement("rect", { x: x - size / 2, y: y - size / 2,
      width: size, height: size, class: this.#resizes && x === x1 && y === y1 ? "grip moving" : "grip" }))];
  }
}
