// Heat maps over the photo: none, the overlay of the run, or the map of another method. The choice holds for all photos.

import { getPicture } from "./api.js";
import { fill, get } from "./dom.js";

export class Layers {
  #chosen = null;       // null, "overlay", or a method
  #facts = null;
  #kept = new Map();    // "row name" -> promise of an address, newest last

  toggle() {
    this.#choose(this.#chosen ? null : "overlay");
  }

  // The next of: overlay, each further method.
  turn() {
    const names = ["overlay", ...(this.#facts?.methods ?? [])];
    this.#choose(names[(names.indexOf(this.#chosen) + 1) % names.length]);
  }

  hideAll(isBare) {
    get("sheet").classList.toggle("bare", isBare);
  }

  async show(facts, next) {
    this.#facts = facts;
    const image = get("layer"), name = this.#chosen;
    image.hidden = true;
    fill("layer-name", null);
    if (!name) return;
    if (!this.#has(facts, name)) {
      if (!facts.blind) fill("layer-name", "no map of this photo");
      return;
    }
    fill("layer-name", name === "overlay" ? "heat map" : `heat map: ${name}`);
    const address = await this.#fetch(facts, name);
    if (this.#facts !== facts || this.#chosen !== name || !address) return;
    image.src = address;
    image.hidden = false;
    if (next && this.#has(next, name)) this.#fetch(next, name);
  }

  #choose(name) {
    this.#chosen = name;
    if (this.#facts) this.show(this.#facts);
  }

  #has(facts, name) {
    return name === "overlay" ? facts.overlay : facts.methods.includes(name);
  }

  #fetch(facts, name) {
    const key = `${facts.row} ${name}`;
    if (!this.#kept.has(key)) {
      const path = name === "overlay" ? `overlay/${facts.row}` : `map/${facts.row}?method=${encodeURIComponent(name)}`;
      this.#kept.set(key, getPicture(`/api/${path}`).catch(() => this.#kept.delete(key) && null));
      for (const [old, address] of this.#kept) {
        if (this.#kept.size <= 8) break;
        address.then((url) => url && URL.revokeObjectURL(url));
        this.#kept.delete(old);
      }
    }
    return this.#kept.get(key);
  }
}
