// The review: which photo is shown, and what each key does with it. Decisions are sent behind, never waited for.

import { getJson, postJson } from "./api.js";
import { BoxEditor } from "./boxes.js";
import { BUTTONS } from "./commands.js";
import { Decisions } from "./decisions.js";
import { element, fill, get } from "./dom.js";
import { Facts } from "./facts.js";
import { Footer } from "./footer.js";
import { Grid } from "./grid.js";
import { listenToKeys } from "./keys.js";
import { Layers } from "./layers.js";
import { Outbox } from "./outbox.js";
import { Panels } from "./panels.js";
import { Photos } from "./photos.js";
import { Queue } from "./queue.js";
import { Rows } from "./rows.js";
import { buildThumbnail } from "./thumbnails.js";
import { View } from "./view.js";

const AHEAD = 4;
const POLL_MILLISECONDS = 3000;
const GOOD_LABELS = ["ok", "good", "normal", "functional"];  // photos without a defect to box

const footer = new Footer();
const start = await getJson("/api/start").catch((error) => {
  get("path").textContent = error.status === 403 ? "Open the whole address printed by vitrollout review" : error.message;
  throw error;
});

let classes = [];
let facts = null;            // of the photo on the screen
let shown = null;            // the label for Enter to confirm, null without one
let note = null;             // for the decision to come
let shownAt = null;          // time of its paint; null: not painted, not to be judged
let counts = null;
let changesSince = 0;
let isWarned = false;        // Enter without boxes was questioned once
const colours = new Map();
const seedsOf = new Map();   // row -> promise

const queue = new Queue(start.queue), rows = new Rows(), photos = new Photos();
const view = new View(), layers = new Layers(), grid = new Grid();
const side = new Facts((label) => useLabel(label));
const boxes = new BoxEditor(view, (label) => colours.get(label) ?? "#999999", showBoxLine);
const panels = new Panels({ visit, classes: () => classes });
const outbox = new Outbox(start, { answered, refused, changed: () => footer.showUnsent(outbox) });
const decisions = new Decisions(start, rows, queue, outbox);

// Showing a photo

async function show(place, text) {
  queue.place = place;
  shownAt = null;
  if (text !== undefined) footer.say(text);
  const { row } = queue;
  photos.keep(row, [...queue.ahead(AHEAD), ...queue.behind()]);
  const found = rows.get(row) ?? await rows.load(row, queue.ahead(63)).catch(() => null);
  if (queue.place !== place || queue.row !== row) return;
  if (!found) return void setTimeout(() => queue.place === place && show(place), 1000);  // no server: try again
  rows.prepare(queue.ahead(64));
  showFacts(found);
  if (!photos.get(row)) {
    fill("gone", null);
    view.show(null, found.width, found.height);
    const small = buildThumbnail(row);
    small.addEventListener("load", () => facts.row === row && !photos.get(row) && view.show(small, found.width, found.height));
    await photos.ready(row);
  }
  if (queue.row === row && photos.get(row)) showPhoto(photos.get(row));
}

function showFacts(found) {
  facts = found;
  note = null;
  isWarned = false;
  const truth = facts.truth?.stale ? null : facts.truth;
  shown = truth?.label ?? facts.label;
  boxes.load(truth?.boxes ?? [], shown);
  drawFacts();
  panels.follow(facts, shown);
}

function drawFacts() {
  side.show(facts, { place: queue.place, total: queue.length, shown: boxes.isOn ? boxes.label : shown, note });
  footer.showProgress(queue.done, queue.total, counts);
}

function showPhoto({ image, error }) {
  const { row } = facts;
  fill("gone", error && `${error} – press x or u, or → to go on`);
  view.show(image, facts.width, facts.height);
  layers.show(facts, rows.get(queue.ahead(1)[0]));
  if (boxes.isOn) offerSeeds();
  showBoxLine();
  requestAnimationFrame(() => setTimeout(() => {
    if (facts.row !== row || grid.isOpen) return;
    shownAt = performance.now();
    get("stage").dataset.painted = row;
    performance.clearMarks("painted");
    performance.mark("painted", { detail: row });
  }));
}

function goOn(text) {
  const { place, passed, isWrapped } = queue.findNext();
  if (passed.length) {
    const names = [...new Set(passed.map((row) => queue.others.get(row)))].join(", ");
    text += ` · skipped ${passed.length === 1 ? "a photo" : `${passed.length} photos`} decided meanwhile by ${names}`;
  }
  if (place < 0) return finish(text);
  show(place, isWrapped ? `${text} · back to the photos passed over` : text);
}

function finish(text) {
  footer.say(text ?? "");
  footer.showProgress(queue.done, queue.total, counts);
  shownAt = null;
  queue.place = queue.length;
  delete get("stage").dataset.painted;
  get("sheet").hidden = true;
  fill("gone", queue.total ? "All photos of this queue are decided. z takes the last one back." : "Nothing to review.");
}

function step(by) {
  const place = queue.place + by;
  if (place >= 0 && place < queue.length) show(place, "");
}

// Show a photo out of turn, such as a similar one; the queue goes on behind it.
function visit(found) {
  closeGrid();
  if (!rows.get(found.row)) rows.put(found);
  queue.insert([found.row]);
  step(1);
}

// Deciding

const isPhotoShown = () => shownAt !== null && !grid.isOpen;

function decide(answer) {
  if (!isPhotoShown()) return;
  if (answer.label !== undefined && photos.get(facts.row)?.error) return;  // a label for a photo nobody has seen
  const seconds = (performance.now() - shownAt) / 1000, how = boxes.isOn ? "box" : "single";
  decisions.add(facts, { how, seconds, note, ...answer });
  footer.took(seconds);
  goOn(`${facts.path}: ${answer.label ?? { unsure: "unsure", rejected: "unusable" }[answer.verdict]}`);
}

function confirm() {
  if (boxes.isOn) return finishBoxes();
  if (shown === null) return footer.say("Which label? Press its key; the model’s answer is hidden.", true);
  decide({ label: shown });
}

// A label was named by its key, its line, or the search.
function useLabel(label) {
  if (grid.isOpen) return openGrid(label);
  if (!boxes.isOn) return decide({ label });
  boxes.relabel(label);
  offerSeeds();
}

function undo() {
  if (boxes.isOn && isPhotoShown() && boxes.undo()) return;
  const row = decisions.undo();
  if (row === undefined) return footer.say("There is nothing left to take back.", true);
  closeGrid();
  let place = queue.placeOf(row);
  if (place < 0) {
    queue.insert([row]);
    place = queue.placeOf(row);
  }
  show(place, "Taken back.");
}

function answered({ record }, answer) {
  counts = answer.counts;
  takeOver([answer.row], record.verdict === "withdrawn");
}

// Facts from the server replace our own, unless a decision about them is still on its way.
function takeOver(found, isUndo = false) {
  for (const each of found) {
    if (outbox.holds(each.row)) continue;
    rows.put(each);
    if (each.row !== facts?.row) continue;
    if (isUndo && !boxes.boxes.length) showFacts(each);
    else facts = each;
  }
  if (facts && queue.row === facts.row) drawFacts();
}

function refused({ record, path }, error) {
  decisions.revert(record);
  footer.say(`Not saved: ${path}: ${error.message}`, true);
}

async function watchOthers() {
  try {
    const { next, rows: found, counts: newest } = await getJson(`/api/changes?since=${changesSince}`);
    changesSince = next;
    counts = newest ?? counts;
    for (const { row, truth } of found) {
      const names = truth?.who.filter((who) => who !== start.who || truth.who.length === 1) ?? [];
      if (!names.length) queue.others.delete(row);
      else queue.others.set(row, names.join(", "));
      if (row === facts?.row && names.length && !queue.decided.has(row))
        footer.say(`${names.join(", ")} has decided this photo meanwhile.`);
    }
    takeOver(found);
  } catch {
    // the records tell of a server out of reach
  }
  setTimeout(watchOthers, POLL_MILLISECONDS);
}

// Boxes

function switchBoxes() {
  if (!start.boxes) return footer.say("Boxes are switched off: vitrollout review --boxes", true);
  closeGrid();
  boxes.turn(!boxes.isOn);
  if (boxes.isOn && isPhotoShown()) offerSeeds();
  showBoxLine();
}

async function offerSeeds() {
  const { row } = facts;
  for (const each of [row, ...queue.ahead(2)]) if (rows.get(each)) fetchSeeds(each);
  const seeds = await fetchSeeds(row);
  if (facts.row !== row || !boxes.isOn) return;
  const isGood = GOOD_LABELS.includes(boxes.label?.toLowerCase());
  if (!isGood && boxes.label !== null) boxes.propose(seeds.boxes);
  showBoxLine(seeds.warning);
}

function fetchSeeds(row) {
  if (rows.get(row).blind && !rows.get(row).truth) return Promise.resolve({ boxes: [], warning: null });
  if (!seedsOf.has(row)) {
    seedsOf.set(row, getJson(`/api/seeds/${row}`).catch((error) => {
      seedsOf.delete(row);
      return { boxes: [], warning: error.message };
    }));
    if (seedsOf.size > 20) seedsOf.delete(seedsOf.keys().next().value);
  }
  return seedsOf.get(row);
}

function showBoxLine(warning = start.seeds.warning) {
  document.body.classList.toggle("boxing", boxes.isOn);
  if (facts) drawFacts();
  if (!boxes.isOn) return fill("box-line", null);
  const count = (number, word) => `${number} ${word}${number === 1 ? "" : "es"}`;
  const dashed = boxes.seedCount ? `, ${boxes.seedCount} dashed to accept (a)` : "";
  fill("box-line", `${count(boxes.boxes.length, "box")}${dashed}. Enter: complete.${warning ? ` ${warning}` : ""}`);
}

function finishBoxes() {
  const drawn = boxes.boxes, area = (box) => (box.x1 - box.x0) * (box.y1 - box.y0);
  const largest = drawn.reduce((best, box) => (!best || area(box) > area(best) ? box : best), null);
  const label = !drawn.length || drawn.some((box) => box.label === boxes.label) ? boxes.label : largest.label;
  if (label === null || drawn.some((box) => box.label === null)) return footer.say("Which label? Press its key.", true);
  if (!drawn.length && !isWarned && !GOOD_LABELS.includes(label.toLowerCase())) {
    isWarned = true;
    return footer.say(`${label}, but no box. a accepts the dashed ones, a drag draws one; Enter again: none to draw.`, true);
  }
  decide({ label, boxes: drawn, isComplete: true });
}

function leaveBoxes() {
  if (boxes.hasSelection) boxes.unselect();
  else switchBoxes();
}

// Grid

async function openGrid(label = facts?.blind ? null : shown, after = "") {
  try {
    if (await grid.open(label, (row) => queue.decided.has(row) || queue.others.has(row), after)) return panels.close();
    const text = `No more photos of ${grid.label ?? "this label"} for the grid.`;
    closeGrid();
    goOn(text);
  } catch (error) {
    footer.say(`The grid can't be shown: ${error.message}`, true);
  }
}

function closeGrid() {
  if (!grid.isOpen) return;
  grid.close();
  if (facts && queue.row === facts.row) show(queue.place);
}

function confirmGrid() {
  const { right, wrong, label } = grid, after = grid.last();
  const seconds = (performance.now() - grid.shownAt) / 1000 / Math.max(1, right.length + wrong.length);
  for (const each of right) {
    decisions.add(rows.get(each.row) ?? each, { label, how: "grid", seconds });
    footer.took(seconds);
  }
  rows.put(...wrong);
  queue.insert(wrong.map((each) => each.row));
  footer.say(`${right.length} confirmed as ${label}${wrong.length ? `, ${wrong.length} to look at when you leave the grid` : ""}`);
  openGrid(label, after);
}

// Notes, and labels without a key

function askNote() {
  if (!isPhotoShown()) return;
  const { row } = facts;
  panels.askNote(note ?? facts.truth?.note, (text) => {
    if (facts.row !== row) return;
    note = text;
    drawFacts();
  });
}

function askLabel() {
  const use = (label) => {
    panels.close();
    useLabel(label);
  };
  panels.askLabel(use, async (name) => {
    try {
      takeClasses((await postJson("/api/classes", { name })).classes);
      use(name);
    } catch (error) {
      footer.say(error.message, true);
    }
  });
}

function takeClasses(found) {
  classes = found;
  for (const { name, colour } of classes) colours.set(name, colour);
  side.listClasses(classes);
  if (facts) drawFacts();
}

// Keys

const common = {
  z: undo, l: askLabel, c: askNote, b: switchBoxes, f: () => view.fit(),
  u: () => decide({ verdict: "unsure" }), x: () => decide({ verdict: "rejected" }),
  o: () => layers.toggle(), m: () => layers.turn(), h: () => layers.hideAll(true),
  g: () => (grid.isOpen ? closeGrid() : openGrid()), s: () => panels.toggle("similar"), t: () => panels.toggle("guide"),
  "?": () => panels.toggle("keys"), j: () => step(1), k: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8),
  Enter: confirm, " ": confirm, Escape: () => panels.close(),
};
const inBoxes = {
  a: () => boxes.acceptAll(), r: () => boxes.switchResizing(), n: () => boxes.addInTheMiddle(),
  Tab: (event) => boxes.next(event.shiftKey ? -1 : 1), Delete: () => boxes.remove(), Backspace: () => boxes.remove(),
  " ": () => boxes.acceptSelected() || confirm(), Escape: leaveBoxes,
};
const inGrid = {
  ArrowRight: () => grid.move(1, 0), ArrowLeft: () => grid.move(-1, 0), ArrowUp: () => grid.move(0, -1),
  ArrowDown: () => grid.move(0, 1), x: () => grid.mark(), Enter: confirmGrid, Escape: closeGrid,
  " ": () => grid.mark(), u: () => {}, j: () => {}, k: () => {},
};
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const movesBox = (key) => key in ARROWS && boxes.isOn && boxes.hasSelection && isPhotoShown();

function act(key, event) {
  const chosen = classes.find((each) => each.key === key && !each.retired);
  if (movesBox(key)) {
    const by = event.shiftKey ? 10 : 1;
    boxes.nudge(ARROWS[key][0] * by, ARROWS[key][1] * by);
  } else if (chosen) useLabel(chosen.name);
  else {
    if (key === "Escape" && panels.isOpen) return panels.close(), true;
    const command = (grid.isOpen ? inGrid[key] : boxes.isOn ? inBoxes[key] : undefined) ?? common[key];
    command?.(event);
    return Boolean(command);
  }
  return true;
}

function addButtons() {
  for (const [key, text] of BUTTONS) {
    const button = element("button", { type: "button" }, element("kbd", { textContent: key }), ` ${text}`);
    button.addEventListener("click", () => act(key, {}));
    get("commands").append(button);
  }
  // a click leaves the focus where it is, so Enter and Space still mean the photo
  document.addEventListener("mousedown", (event) => event.target.closest("button") && event.preventDefault());
}

addEventListener("beforeunload", (event) => outbox.count && event.preventDefault());
setInterval(() => footer.showUnsent(outbox), 500);
listenToKeys({ act, release: (key) => key === "h" && layers.hideAll(false), mayRepeat: movesBox });
document.title = `${start.name} – review`;
rows.put(...start.rows);
takeClasses(start.classes);
addButtons();
const left = outbox.recover();
goOn([left ? `${left} unsaved decisions are being sent` : "", ...start.warnings].filter(Boolean).join(" · ") || start.order_text);
watchOthers();
