// Records on their way to the server. Each lies in localStorage until the server has acknowledged it, and is sent again
// under the same id, so neither a crash of the browser nor one of the server loses or doubles a decision.

import { AnswerError, postJson } from "./api.js";

const SECONDS_UNTIL_LATE = 2;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export class Outbox {
  #items = [];      // {key, record, path, added}, oldest first
  #prefix;
  #added = 0;
  #sending = false;
  problem = null;   // text of the last failure, while it lasts

  // on: {answered(item, answer), refused(item, error), changed()}
  constructor(start, on) {
    this.session = start.session;
    this.on = on;
    this.#prefix = `vitrollout ${JSON.stringify(start.name)} `;
  }

  get count() {
    return this.#items.length;
  }

  get isLate() {
    return this.count > 0 && (this.problem !== null || Date.now() - this.#items[0].added > SECONDS_UNTIL_LATE * 1000);
  }

  holds(row) {
    return this.#items.some((item) => item.record.row === row);
  }

  add(record, path) {
    const number = `${Date.now()}`.padStart(15, "0") + `${this.#added++}`.padStart(6, "0");
    const item = { key: `${this.#prefix}${this.session} ${number}`, record, path, added: Date.now() };
    this.#items.push(item);
    try {
      localStorage.setItem(item.key, JSON.stringify(item));
    } catch {
      // storage full or forbidden: it stays in memory, and leaving the page asks
    }
    this.#send();
  }

  // Take up what earlier pages and servers left behind, and wait until it is sent, or can't be; return how many that are.
  async recover() {
    const number = (key) => key.slice(key.lastIndexOf(" "));
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.#prefix));
    keys.sort((a, b) => (number(a) < number(b) ? -1 : 1));
    const found = keys.map((key) => ({ ...JSON.parse(localStorage.getItem(key)), isLeftOver: true }));
    this.#items.unshift(...found);
    this.#send();
    while (this.count && !this.problem) await pause(0.02);
    return found.length;
  }

  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    for (this.on.changed(); this.#items.length; this.on.changed()) {
      const item = this.#items[0];
      try {
        const answer = await postJson("/api/records", item.record);
        this.#drop(item);
        this.problem = null;
        this.on.answered(item, answer);
      } catch (error) {
        await this.#handle(item, error);
      }
    }
    this.#sending = false;
  }

  async #handle(item, error) {
    if (error instanceof AnswerError && error.status < 500 && error.status !== 403) {
      this.#drop(item);  // it would be refused for ever
      this.on.refused(item, error);
      return;
    }
    this.problem = this.#describe(error);
    this.on.changed();
    await pause(error.status === 507 ? 3 : 1);
  }

  #describe(error) {
    if (error.status === 403)
      return "The server was restarted: open the new address printed by vitrollout review; decisions are kept here.";
    return error instanceof AnswerError ? error.message : "The server does not answer; decisions are kept here.";
  }

  #drop(item) {
    this.#items.shift();
    localStorage.removeItem(item.key);
  }
}
