// Facts of the photos, fetched 64 at a time shortly before they are needed, and kept.

import { getJson } from "./api.js";

const PAGE = 64;

export class Rows {
  #known = new Map();   // row -> facts
  #asked = new Map();   // row -> promise

  get(row) {
    return this.#known.get(row);
  }

  put(...rows) {
    for (const facts of rows) this.#known.set(facts.row, facts);
  }

  // Fetch the facts of one photo; `ahead` are rows that will be needed next.
  async load(row, ahead = [row]) {
    if (this.#known.has(row)) return this.#known.get(row);
    if (!this.#asked.has(row)) this.#ask([row, ...ahead]);
    await this.#asked.get(row);
    return this.#known.get(row);
  }

  // Fetch the next page once half of it is missing.
  prepare(rows) {
    const missing = rows.slice(0, PAGE).filter((row) => !this.#known.has(row) && !this.#asked.has(row));
    if (missing.length > PAGE / 2 || (missing.length && rows.length < PAGE)) this.#ask(missing);
  }

  #ask(rows) {
    const wanted = [...new Set(rows)].filter((row) => !this.#known.has(row) && !this.#asked.has(row)).slice(0, PAGE);
    const answer = getJson(`/api/rows?rows=${wanted}`).then(({ rows: found }) => this.put(...found));
    const done = answer.finally(() => wanted.forEach((row) => this.#asked.delete(row)));
    done.catch(() => {});  // whoever waits for a row hears of it
    for (const row of wanted) this.#asked.set(row, done);
  }
}
