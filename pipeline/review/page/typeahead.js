// A text field over all labels. Enter takes the first match; a new name is offered as a new class, and asked for twice.

import { element } from "./dom.js";

const SHOWN = 12;

export function buildTypeahead({ classes, choose, add, close }) {
  const field = element("input", { type: "text", autocomplete: "off", spellcheck: false, maxLength: 100 });
  field.setAttribute("aria-label", "Label");
  const list = element("ol", { className: "matches" });
  let matches = [], at = 0, asked = false;

  function find() {
    const wanted = field.value.trim().toLowerCase();
    const rank = (name) => name.toLowerCase().indexOf(wanted);
    const found = classes().filter((each) => !each.retired && rank(each.name) >= 0);
    found.sort((a, b) => (rank(a.name) > 0) - (rank(b.name) > 0) || a.id - b.id);
    matches = found.slice(0, SHOWN).map((each) => ({ name: each.name, key: each.key }));
    if (wanted && !classes().some((each) => each.name.toLowerCase() === wanted))
      matches.push({ name: field.value.trim(), isNew: true });
    at = 0;
    asked = false;
    draw();
  }

  function draw() {
    list.replaceChildren(...matches.map((match, index) => {
      const text = !match.isNew ? match.name
        : asked ? `Enter once more adds the class “${match.name}”` : `Add the class “${match.name}” …`;
      const line = element("li", { className: match.isNew ? "new" : "" },
        element("kbd", { textContent: match.key ?? "" }), element("span", { textContent: text }));
      line.setAttribute("aria-selected", index === at);
      line.addEventListener("mousedown", (event) => {
        event.preventDefault();
        at = index;
        take();
      });
      return line;
    }));
  }

  function take() {
    const match = matches[at];
    if (!match) return;
    if (match.isNew && !asked) {
      asked = true;
      draw();
    } else if (match.isNew) add(match.name);
    else choose(match.name);
  }

  field.addEventListener("input", find);
  field.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.isComposing || event.repeat && event.key === "Enter") return;
    if (by) {
      at = Math.min(matches.length - 1, Math.max(0, at + by));
      asked = false;
      draw();
    } else if (event.key === "Enter") take();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  find();
  return { field, content: [field, list] };
}
