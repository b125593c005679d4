// What other reviewers of the same folder decide meanwhile.

import { getJson } from "./api.js";

const POLL_MILLISECONDS = 3000;

// takeOver(rows, counts): newer facts have come
export function watchColleagues({ start, display, takeOver }) {
  const { queue, footer } = display;
  let since = 0;

  function note({ row, truth }) {
    const names = (truth?.who ?? []).filter((who) => who !== start.who || truth.who.length === 1).join(", ");
    if (names) queue.others.set(row, names);
    else queue.others.delete(row);
    if (names && row === display.facts?.row && !queue.decided.has(row))
      footer.say(`${names} has decided this photo meanwhile.`);
  }

  async function ask() {
    try {
      const { next, rows, counts } = await getJson(`/api/changes?since=${since}`);
      since = next;
      rows.forEach(note);
      takeOver(rows, counts);
    } catch {
      // the unsaved records tell of a server out of reach
    }
    setTimeout(ask, POLL_MILLISECONDS);
  }

  ask();
}
