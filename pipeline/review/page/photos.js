// Photos, fetched and decoded before they are shown. Decoding 12 megapixels takes longer than a key may.

import { getPicture } from "./api.js";

export class Photos {
  #kept = new Map();  // row -> {image | error, ready: promise, stop: AbortController}

  // The decoded photo, or the reason why there is none; undefined while it is under way.
  get(row) {
    const kept = this.#kept.get(row);
    return kept && (kept.image || kept.error) ? kept : undefined;
  }

  ready(row) {
    return this.#kept.get(row)?.ready;
  }

  // Keep these photos and let go of all others. The first one has the disk and the network to itself.
  keep(row, others) {
    for (const [old, kept] of this.#kept) {
      if (old === row || others.includes(old)) continue;
      kept.stop.abort();
      URL.revokeObjectURL(kept.image?.src);
      this.#kept.delete(old);
    }
    this.#fetch(row).then(() => {
      for (const other of others) if (this.#kept.has(row)) this.#fetch(other);
    });
  }

  #fetch(row) {
    const before = this.#kept.get(row);
    if (before) return before.ready;
    const kept = { stop: new AbortController() };
    kept.ready = this.#decode(row, kept);
    this.#kept.set(row, kept);
    return kept.ready;
  }

  async #decode(row, kept) {
    const image = Object.assign(new Image(), { alt: "", draggable: false });
    while (!kept.stop.signal.aborted && !image.src) {
      try {
        image.src = await getPicture(`/api/photo/${row}`, kept.stop.signal);
        await image.decode();
        kept.image = image;
      } catch (error) {
        if (error instanceof TypeError) await new Promise((resolve) => setTimeout(resolve, 1000));  // no server
        else kept.error = error.status ? error.message : "the browser can't show this photo";
        if (kept.error) return;
      }
    }
  }
}
