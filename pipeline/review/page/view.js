// The photo on its stage: zoom and pan, both kept from photo to photo.

import { get } from "./dom.js";

const LARGEST_ZOOM = 60;

export class View {
  #zoom = 1;                      // 1: the photo fits the stage
  #centre = { x: 0.5, y: 0.5 };   // of the stage, as shares of the photo's sides
  #pointer = null;                // last position of the mouse over the stage
  width = 1;
  height = 1;
  scale = 1;                      // pixels of the screen for one of the photo

  constructor() {
    this.stage = get("stage");
    this.sheet = get("sheet");
    new ResizeObserver(() => !this.stage.hidden && this.#place()).observe(this.stage);
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event);
    }, { passive: false });
    this.stage.addEventListener("pointermove", (event) => (this.#pointer = event));
    this.stage.addEventListener("pointerleave", () => (this.#pointer = null));
    this.stage.addEventListener("pointerdown", (event) => this.#pan(event));
    this.changed = () => {};
  }

  show(image, width, height) {
    this.width = width;
    this.height = height;
    if (image) get("photo").replaceChildren(image);
    else get("photo").replaceChildren();
    this.sheet.hidden = !image;
    this.#place();
  }

  fit() {
    this.#zoom = 1;
    this.#centre = { x: 0.5, y: 0.5 };
    this.#place();
  }

  // Zoom about a point, the last position of the pointer, or the middle.
  zoom(factor, event = this.#pointer) {
    const frame = this.stage.getBoundingClientRect();
    const x = event ? event.clientX - frame.left : frame.width / 2;
    const y = event ? event.clientY - frame.top : frame.height / 2;
    const before = this.scale;
    this.#zoom = Math.min(LARGEST_ZOOM, Math.max(1, this.#zoom * factor));
    const after = this.#fitScale(frame) * this.#zoom;
    // the pixel under the point stays there
    this.#centre.x += ((x - frame.width / 2) * (1 / before - 1 / after)) / this.width;
    this.#centre.y += ((y - frame.height / 2) * (1 / before - 1 / after)) / this.height;
    this.#place();
  }

  // Pixel of the photo below a point of the screen.
  toPhoto(event) {
    const frame = this.sheet.getBoundingClientRect();
    return { x: (event.clientX - frame.left) / this.scale, y: (event.clientY - frame.top) / this.scale };
  }

  #fitScale(frame) {
    return Math.min(frame.width / this.width, frame.height / this.height) || 1;
  }

  #place() {
    const frame = this.stage.getBoundingClientRect();
    this.scale = this.#fitScale(frame) * this.#zoom;
    const place = (centre, length, room) => {
      const half = room / 2 / (length * this.scale);  // share of the photo in half the stage
      return half >= 0.5 ? 0.5 : Math.min(1 - half, Math.max(half, centre));
    };
    this.#centre = {
      x: place(this.#centre.x, this.width, frame.width),
      y: place(this.#centre.y, this.height, frame.height),
    };
    Object.assign(this.sheet.style, {
      width: `${this.width * this.scale}px`,
      height: `${this.height * this.scale}px`,
      left: `${frame.width / 2 - this.#centre.x * this.width * this.scale}px`,
      top: `${frame.height / 2 - this.#centre.y * this.height * this.scale}px`,
    });
    this.sheet.classList.toggle("pixels", this.scale > 4);
    this.changed();
  }

  // Drag: the left button, or the middle one where the left one draws boxes.
  #pan(event) {
    if (event.button > 1 || event.defaultPrevented) return;
    event.preventDefault();
    let { clientX, clientY } = event;
    this.stage.setPointerCapture(event.pointerId);
    const move = (moved) => {
      this.#centre.x -= (moved.clientX - clientX) / (this.width * this.scale);
      this.#centre.y -= (moved.clientY - clientY) / (this.height * this.scale);
      ({ clientX, clientY } = moved);
      this.#place();
    };
    const stop = () => this.stage.removeEventListener("pointermove", move);
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("lostpointercapture", stop, { once: true });
  }
}
