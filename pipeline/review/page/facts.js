// The column beside the photo: its name, the answer to confirm, all labels with their keys, and what people have said.

import { element, fill, format, get } from "./dom.js";

const LISTED = 40;  // classes in the list; `l` finds the others

export class Facts {
  #shares = new Map();  // class name -> {bar, score, row}
  #dots = new Map();

  // pick(name): a label was clicked
  constructor(pick) {
    this.pick = pick;
  }

  listClasses(classes) {
    this.#shares.clear();
    const offered = classes.filter((each) => !each.retired);
    const listed = [...offered.filter((each) => each.key), ...offered.filter((each) => !each.key)].slice(0, LISTED);
    get("labels").replaceChildren(...listed.map((each) => this.#line(each)));
    if (offered.length > listed.length)
      get("labels").append(element("li", { className: "quiet", textContent: `${offered.length - listed.length} more: l` }));
  }

  #line({ name, key, colour }) {
    const bar = element("span", { className: "bar" }), score = element("span", { className: "score" });
    const dot = element("span", { className: "dot" });
    dot.style.background = colour;
    const button = element("button", { type: "button", title: name },
      element("kbd", { textContent: key ?? "" }), dot, element("span", { className: "name", textContent: name }),
      element("span", { className: "track" }, bar), score);
    button.addEventListener("click", () => this.pick(name));
    this.#shares.set(name, { bar, score, button });
    return element("li", {}, button);
  }

  // `shown` is the label that Enter confirms, null without one.
  show(facts, { place, total, shown, note }) {
    const slash = facts.path.lastIndexOf("/") + 1;
    get("folder").textContent = slash ? facts.path.slice(0, slash) : "";
    get("path").textContent = facts.path.slice(slash);
    get("path").title = get("folder").title = facts.path;
    const where = place === undefined ? "" : `${format(place + 1)} of ${format(total)} · `;
    get("place").textContent = `${where}${facts.width} × ${facts.height} px`;
    this.#showAnswer(facts, shown);
    const scores = new Map(facts.top ?? []);
    for (const [name, { bar, score, button }] of this.#shares) {
      bar.style.width = `${100 * (scores.get(name) ?? 0)}%`;
      score.textContent = scores.get(name) >= 0.005 ? scores.get(name).toFixed(2) : "";
      button.setAttribute("aria-current", name === shown);
    }
    this.#showTruth(facts.truth);
    fill("note", note ? `Note: ${note}` : facts.note);
  }

  clear() {
    for (const id of ["folder", "path", "place", "shown", "reason", "truth", "note"]) get(id).textContent = "";
  }

  #showAnswer(facts, shown) {
    const place = get("shown");
    place.classList.toggle("blind", facts.blind && !shown);
    if (!shown && facts.blind) place.textContent = "Which label?";
    else place.replaceChildren(element("kbd", { textContent: "Enter" }), ` ${shown ?? ""}`,
      element("span", { className: "score", textContent: shown === facts.label ? facts.score?.toFixed(2) ?? "" : "" }));
    const decision = facts.decision ? ` · ${facts.decision}, defect ${facts.defect_score?.toFixed(2)}` : "";
    get("reason").textContent = facts.blind ? "Blind check: the model’s answer is hidden until you have given yours."
      : `${facts.reason ?? ""}${decision}`;
  }

  #showTruth(truth) {
    const place = get("truth");
    place.classList.toggle("warn", truth?.state === "disputed");
    if (!truth) return place.replaceChildren();
    const said = truth.who.map((who, at) => `${who}: ${truth.answers[at] ?? truth.state}`).join(" · ");
    const state = { disputed: "Disputed – ", unsure: "", rejected: "", reviewed: "" }[truth.state];
    const boxes = truth.boxes.length ? ` · ${truth.boxes.length} box${truth.boxes.length > 1 ? "es" : ""}` : "";
    const note = truth.note ? ` – “${truth.note}”` : "", stale = truth.stale ? "The photo was replaced since. Then " : "";
    place.textContent = `${stale}${state}${said}${boxes}${truth.boxes_complete ? ", complete" : ""}${note}`;
  }
}
