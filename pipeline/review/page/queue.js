// The order of the photos, and the place in it.

export class Queue {
  place = -1;
  decided = new Set();   // rows decided in this session
  others = new Map();    // rows decided by others meanwhile -> their names
  #order;
  #members;

  constructor(order) {
    this.#order = [...order];
    this.#members = new Set(order);
    this.total = order.length;
  }

  get row() {
    return this.#order[this.place];
  }

  get length() {
    return this.#order.length;
  }

  get done() {
    const isMember = (row) => this.#members.has(row);
    return [...this.decided].filter(isMember).length
      + [...this.others.keys()].filter((row) => isMember(row) && !this.decided.has(row)).length;
  }

  ahead(count) {
    return this.#order.slice(this.place + 1, this.place + 1 + count);
  }

  behind() {
    return this.place > 0 ? [this.#order[this.place - 1]] : [];
  }

  // Put photos next in the order, such as ones looked up on purpose.
  insert(rows) {
    this.#order.splice(this.place + 1, 0, ...rows);
  }

  placeOf(row) {
    return this.#order.indexOf(row);
  }

  // The next photo nobody has decided, from here or else from the start, and the ones of others passed over.
  findNext() {
    const passed = [];
    const isOpen = (row) => {
      if (this.decided.has(row)) return false;
      if (this.others.has(row)) passed.push(row);
      return !this.others.has(row);
    };
    for (let place = this.place + 1; place < this.length; place++)
      if (isOpen(this.#order[place])) return { place, passed };
    const place = this.#order.findIndex((row) => !this.decided.has(row) && !this.others.has(row));
    return { place, passed, isWrapped: place >= 0 };
  }
}
