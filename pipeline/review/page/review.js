// The review: what each key does. Decisions are sent behind, never waited for.

import { postJson } from "./api.js";
import { BoxEditor } from "./boxes.js";
import { BoxMode } from "./boxmode.js";
import { watchColleagues } from "./colleagues.js";
import { BUTTONS } from "./commands.js";
import { Decisions } from "./decisions.js";
import { Display } from "./display.js";
import { element, get } from "./dom.js";
import { Facts } from "./facts.js";
import { Footer } from "./footer.js";
import { GridMode } from "./gridmode.js";
import { listenToKeys } from "./keys.js";
import { Layers } from "./layers.js";
import { Outbox } from "./outbox.js";
import { Panels } from "./panels.js";
import { Photos } from "./photos.js";
import { Queue } from "./queue.js";
import { Rows } from "./rows.js";
import { started } from "./start.js";
import { View } from "./view.js";

const footer = new Footer();
const start = await started.catch((error) => {
  get("path").textContent = error.status === 403 ? "Open the whole address printed by vitrollout review" : error.message;
  throw error;
});

let classes = [];
const colours = new Map();
const queue = new Queue(start.queue), rows = new Rows(), photos = new Photos(), view = new View(), layers = new Layers();
const side = new Facts(useLabel);
const boxes = new BoxEditor(view, (label) => colours.get(label) ?? "#999999");
const panels = new Panels({ visit, classes: () => classes });
const display = new Display({ queue, rows, photos, view, layers, boxes, side, panels, footer });
const outbox = new Outbox(start, { answered, refused, changed: () => footer.showUnsent(outbox) });
const decisions = new Decisions(start, rows, queue, outbox);
const boxMode = new BoxMode({ start, display, boxes, footer, decide });
const gridMode = new GridMode({ display, decisions, footer, panels });

// Deciding

function decide(answer) {
  if (!display.isReady || (answer.label && display.isGone)) return;  // nobody has seen this photo
  const { facts, seconds, note } = display;
  decisions.add(facts, { how: boxes.isOn ? "box" : "single", seconds, note, ...answer });
  footer.took(seconds);
  display.goOn(`${facts.path}: ${answer.label ?? { unsure: "unsure", rejected: "unusable" }[answer.verdict]}`);
}

function confirm() {
  if (!display.isReady) return;
  if (boxes.isOn) boxMode.finish();
  else if (display.label === null) footer.say("Which label? Press its key; the model’s answer is hidden.", true);
  else decide({ label: display.label });
}

// A label was named: by its key, its line, or the search.
function useLabel(label) {
  if (gridMode.isOpen) gridMode.open(label);
  else if (boxes.isOn) boxMode.relabel(label);
  else decide({ label });
}

function undo() {
  if (boxes.isOn && display.isReady && boxes.undo()) return;
  const row = decisions.undo();
  if (row === undefined) return footer.say("There is nothing left to take back.", true);
  if (gridMode.isOpen) gridMode.close();
  if (queue.placeOf(row) < 0) queue.insert([row]);
  display.show(queue.placeOf(row), "Taken back.");
}

function visit(facts) {
  if (gridMode.isOpen) gridMode.close();
  display.visit(facts);
}

// Answers of the server

function answered({ record, isLeftOver }, { row, counts }) {
  if (isLeftOver) decisions.adopt(record, row);
  takeOver([row], counts);
  if (record.verdict === "withdrawn" && row.row === display.facts?.row && !boxes.boxes.length) display.load(row);
}

// Facts from the server replace our own, unless a decision about them is still on its way.
function takeOver(found, counts) {
  display.counts = counts ?? display.counts;
  for (const facts of found.filter(({ row }) => !outbox.holds(row))) {
    rows.put(facts);
    if (facts.row === display.facts?.row) display.facts = facts;
  }
  display.draw();
}

function refused({ record, path }, error) {
  decisions.revert(record);
  footer.say(`Not saved: ${path}: ${error.message}`, true);
}

// Notes, and labels without a key

function askNote() {
  const { facts } = display;
  if (display.isReady) panels.askNote(display.note ?? facts.truth?.note, (note) => {
    if (display.facts?.row === facts.row) display.note = note;
    display.draw();
  });
}

function askLabel() {
  const use = (label) => {
    panels.close();
    useLabel(label);
  };
  panels.askLabel(use, (name) => postJson("/api/classes", { name }).then((answer) => {
    takeClasses(answer.classes);
    use(name);
  }, (error) => footer.say(error.message, true)));
}

function takeClasses(found) {
  classes = found;
  for (const { name, colour } of classes) colours.set(name, colour);
  side.listClasses(classes);
  display.draw();
}

// Keys

const common = {
  Enter: confirm, " ": confirm, u: () => decide({ verdict: "unsure" }), x: () => decide({ verdict: "rejected" }), z: undo,
  ArrowRight: () => display.step(1), ArrowLeft: () => display.step(-1), j: () => display.step(1), k: () => display.step(-1),
  l: askLabel, c: askNote, b: () => boxMode.switch(), g: () => gridMode.open(display.facts?.label ?? null),
  o: () => layers.toggle(), m: () => layers.turn(), h: () => layers.hideAll(true),
  "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8), f: () => view.fit(),
  s: () => panels.toggle("similar"), t: () => panels.toggle("guide"), "?": () => panels.toggle("keys"),
};
const inBoxes = {
  a: () => boxes.acceptAll(), r: () => boxes.switchResizing(), n: () => boxes.addInTheMiddle(),
  Tab: ({ shiftKey }) => boxes.next(shiftKey ? -1 : 1), Delete: () => boxes.remove(), Backspace: () => boxes.remove(),
  " ": () => boxes.acceptSelected() || confirm(), Escape: () => boxMode.leave(),
};
const { grid } = gridMode;
const inGrid = {
  ArrowRight: () => grid.move(1, 0), ArrowLeft: () => grid.move(-1, 0), ArrowUp: () => grid.move(0, -1),
  ArrowDown: () => grid.move(0, 1), x: () => grid.mark(), " ": () => grid.mark(), Enter: () => gridMode.confirm(),
  g: () => gridMode.close(), Escape: () => gridMode.close(), z: undo, "?": common["?"],
};
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const movesBox = (key) => key in ARROWS && boxes.isOn && boxes.hasSelection && !gridMode.isOpen;

function findCommand(key) {
  const named = classes.find((each) => each.key === key && !each.retired);
  if (movesBox(key)) return ({ shiftKey }) => boxes.nudge(...ARROWS[key].map((by) => by * (shiftKey ? 10 : 1)));
  if (named) return () => useLabel(named.name);
  if (key === "Escape" && panels.isOpen) return () => panels.close();
  if (gridMode.isOpen) return inGrid[key];
  return (boxes.isOn && inBoxes[key]) || common[key];
}

function act(key, event) {
  const command = findCommand(key);
  command?.(event);
  return Boolean(command);
}

for (const [mode, buttons] of Object.entries(BUTTONS)) {
  const nav = element("nav", { className: "commands" }, ...buttons.map(([key, text]) => {
    const button = element("button", { type: "button" },
      element("kbd", { textContent: key === "Delete" ? "Del" : key }), ` ${text}`);
    button.addEventListener("click", (event) => act(key, event));
    return button;
  }));
  nav.dataset.mode = mode;
  nav.setAttribute("aria-label", "Commands");
  document.querySelector("aside").append(nav);
}
// a click leaves the focus where it is, so Enter and Space still mean the photo
document.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
listenToKeys({ act, release: (key) => key === "h" && layers.hideAll(false), mayRepeat: movesBox });
addEventListener("beforeunload", (event) => outbox.count && event.preventDefault());
setInterval(() => footer.showUnsent(outbox), 500);

document.title = `${start.name} – review`;
rows.put(...start.rows);
display.counts = start.counts;
takeClasses(start.classes);
const left = await outbox.recover();
const news = [left ? `Sent from last time: ${left}` : "", ...start.warnings].filter(Boolean);
display.goOn(news.join(" · ") || start.order_text);
watchColleagues({ start, display, takeOver });
