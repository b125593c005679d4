// Decisions: each becomes a record, holds at once on this page, and can be taken back, also after a reload.

import { newId } from "./api.js";

export class Decisions {
  #undoable;              // {id, row, content_hash}, newest last
  #before = new Map();    // id of a record -> facts of its photo before

  constructor(start, rows, queue, outbox) {
    Object.assign(this, { who: start.who, rows, queue, outbox });
    this.#undoable = [...start.undo];
    for (const { row } of start.undo) queue.decided.add(row);
  }

  // Record a decision. Boxes of an earlier one stay unless there are new ones.
  add(facts, { verdict, label = null, boxes, isComplete, how = "single", seconds, note }) {
    const truth = facts.truth?.stale ? null : facts.truth;
    const kept = label === null ? [] : boxes ?? truth?.boxes ?? [];
    const record = {
      id: newId(), row: facts.row, content_hash: facts.content_hash,
      verdict: verdict ?? (label === facts.label ? "confirmed" : "corrected"), label,
      boxes: kept.map(({ x0, y0, x1, y1, label: name, source, note: remark }) =>
        ({ x0, y0, x1, y1, label: name, source, note: remark ?? null })),
      boxes_complete: isComplete ?? Boolean(truth?.boxes_complete && truth.label === label),
      replaces: truth?.records ?? [], how, blind: facts.blind, seconds, note: note ?? truth?.note ?? null,
    };
    this.#before.set(record.id, facts);
    this.#undoable.push({ id: record.id, row: facts.row, content_hash: facts.content_hash });
    this.queue.decided.add(facts.row);
    this.rows.put({ ...facts, truth: this.#describe(record) });
    this.outbox.add(record, facts.path);
  }

  // Take the last decision back; return the row of its photo, undefined without one.
  undo() {
    const last = this.#undoable.pop();
    if (!last) return undefined;
    const facts = this.#forget(last);
    const record = {
      id: newId(), row: last.row, content_hash: last.content_hash, verdict: "withdrawn", label: null, boxes: [],
      boxes_complete: false, replaces: [last.id], how: "single", blind: false, seconds: null, note: null,
    };
    this.outbox.add(record, facts?.path ?? "");
    return last.row;
  }

  // A record of an earlier page has been sent: it belongs to this session now.
  adopt({ id, verdict, replaces }, { row, content_hash }) {
    this.#undoable = this.#undoable.filter((each) => !replaces.includes(each.id) || verdict !== "withdrawn");
    if (verdict === "withdrawn") return void this.queue.decided.delete(row);
    this.#undoable.push({ id, row, content_hash });
    this.queue.decided.add(row);
  }

  // The server refused a record: as if it had never been.
  revert({ id, row, verdict }) {
    this.#undoable = this.#undoable.filter((each) => each.id !== id);
    if (verdict !== "withdrawn") this.#forget({ id, row });
  }

  #forget({ id, row }) {
    const facts = this.#before.get(id);
    this.#before.delete(id);
    this.queue.decided.delete(row);
    if (facts) this.rows.put(facts);
    return facts;
  }

  #describe({ id, verdict, label, boxes, boxes_complete, note }) {
    return { state: label === null ? verdict : "reviewed", label, verdict, who: [this.who], answers: [label ?? verdict],
      records: [id], boxes, boxes_complete, note, stale: false };
  }
}
