"use strict";
// The gallery. All text of a row (names, labels, reasons) goes in as textContent, never as HTML.

(() => {
  const PAGE = 48;
  const files = document.body.dataset.files;

  const get = (id) => document.getElementById(id);
  const form = get("filters"), cards = get("cards");

  let index = null;     // columns of the gallery's rows: path, label (-1: failed), score, run
  let lowered = [];     // paths in lower case
  let selected = [];    // rows that pass the filters, in the chosen order
  let page = 0;

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // For viewer.js and the map; the event `selected` follows each change of the filters.

  window.vitrolloutGallery = {
    form, element, details, select, isUnlike, decision, badge, showPageOf, openRow,
    get index() { return index; },
    get selected() { return selected; },
  };

  // Rows: index.js calls the first function, rows-<n>.js the second.

  window.vitrolloutIndex = (content) => {
    index = content;
    lowered = index.path.map((path) => path.toLowerCase());
    const photosOf = new Array(index.labels.length).fill(0);
    for (const label of index.label) if (label >= 0) photosOf[label] += 1;
    index.labels.forEach((label, number) => {
      if (photosOf[number]) form.elements.label.append(new Option(`${label} (${photosOf[number]})`, number));
    });
    index.runs.forEach((run, number) => form.elements.run.append(new Option(run, number)));
    select();
  };

  const loaded = new Map();   // file number -> promise of its rows
  const waiting = new Map();  // file number -> what to call with them
  window.vitrolloutRows = (number, rows) => waiting.get(number)(rows);

  async function details(row) {
    const number = Math.floor(row / index.rowsPerFile);
    if (!loaded.has(number)) {
      loaded.set(number, new Promise((resolve, reject) => {
        waiting.set(number, resolve);
        const script = element("script", { src: `${files}/rows-${number}.js`, onerror: reject });
        document.head.append(script);
      }));
      if (loaded.size > 500) loaded.delete(loaded.keys().next().value);
    }
    try {
      return (await loaded.get(number))[row % index.rowsPerFile];
    } catch {
      get("count").textContent = "The report has been rewritten since this page was opened; reload the page.";
      throw new Error("data file is gone");
    }
  }

  // Filters, sort, pages

  function select() {
    const wanted = Object.fromEntries(new FormData(form));
    const path = wanted.path.toLowerCase();
    const label = wanted.label === "" ? null : Number(wanted.label);
    const run = wanted.run === "" ? null : Number(wanted.run);
    const lowest = wanted.lowest === "" ? null : Number(wanted.lowest);
    const highest = wanted.highest === "" ? null : Number(wanted.highest);
    selected = [];
    for (let row = 0; row < lowered.length; row++) {
      const failed = index.label[row] < 0, score = index.score[row];
      if (label !== null && index.label[row] !== label) continue;
      if (run !== null && index.run[row] !== run) continue;
      if (wanted.decision && index.decision?.[row] !== wanted.decision) continue;
      if (wanted.status && failed !== (wanted.status === "failed")) continue;
      if (lowest !== null && (failed || score < lowest)) continue;
      if (highest !== null && (failed || score > highest)) continue;
      if (wanted.defects && (failed || (index.defects[row] > 0) !== (wanted.defects === "found"))) continue;
      if (wanted.familiar && (failed || isUnlike(row) !== (wanted.familiar === "unlike"))) continue;
      if (wanted.review && !isReview(wanted.review, index.review?.[row])) continue;
      if (path && !lowered[row].includes(path)) continue;
      selected.push(row);
    }
    const { score, label: labels, run: runs } = index;
    const orders = {
      "score": (a, b) => (score[a] ?? 2) - (score[b] ?? 2),
      "-score": (a, b) => (score[b] ?? -1) - (score[a] ?? -1),
      "label": (a, b) => (labels[a] < 0 ? Infinity : labels[a]) - (labels[b] < 0 ? Infinity : labels[b]) || a - b,
      "run": (a, b) => runs[a] - runs[b],
      "-defects": (a, b) => index.defects[b] - index.defects[a],
      "-unfamiliar": (a, b) => (index.unfamiliar[b] ?? -1) - (index.unfamiliar[a] ?? -1),
    };
    if (orders[wanted.sort]) selected.sort(orders[wanted.sort]);  // rows come sorted by path
    page = 0;
    show();
    document.dispatchEvent(new Event("selected"));
  }

  function isUnlike(row) {  // the training photos
    return (index.unfamiliar?.[row] ?? 0) > index.unfamiliarFrom;
  }

  function isReview(wanted, review) {
    if (wanted === "none") return !review;
    return review === wanted || (wanted === "reviewed" && (review === "agrees" || review === "disagrees"));
  }

  function show() {
    const pages = Math.max(1, Math.ceil(selected.length / PAGE));
    const format = (number) => number.toLocaleString("en");
    const all = `${format(index.path.length)} photos${get("choice") ? " in the gallery" : ""}`;
    get("count").textContent = selected.length === index.path.length ? all : `${format(selected.length)} of ${all}`;
    get("page").textContent = `Page ${format(page + 1)} of ${format(pages)}`;
    get("pages").hidden = pages === 1;
    get("pages").querySelector("[data-turn='-1']").disabled = page === 0;
    get("pages").querySelector("[data-turn='1']").disabled = page === pages - 1;
    const first = page * PAGE;
    cards.replaceChildren(...selected.slice(first, first + PAGE).map((row, at) => card(row, first + at)));
  }

  function card(row, place) {
    const failed = index.label[row] < 0;
    const picture = element("span", { className: "picture" });
    const button = element("button", { type: "button" },
      picture,
      element("span", { className: failed ? "label failed" : "label" },
        element("span", { textContent: failed ? "failed" : index.labels[index.label[row]] }),
        element("span", { textContent: failed ? "" : index.score[row].toFixed(3) })),
      decision(row),
      defects(row),
      badge(row),
      element("span", { className: "path", textContent: index.path[row] }));
    button.dataset.place = place;
    details(row).then((more) => {
      const src = more.thumbnail ?? more.overlay;
      if (src) picture.append(element("img", { src, alt: "", loading: "lazy", decoding: "async" }));
      else picture.textContent = more.error ?? "no picture";
    }, () => {});
    return element("li", {}, button);
  }

  function decision(row) {
    const name = index.decision?.[row];
    return name ? element("span", { className: `decision ${name}`, textContent: name }) : "";
  }

  function defects(row) {
    const count = index.defects?.[row];
    return count ? element("span", { className: "defects", textContent: `${count} defect${count === 1 ? "" : "s"}` }) : "";
  }

  function badge(row) {
    return isUnlike(row) ? element("span", { className: "unlike", textContent: "unlike the training photos" }) : "";
  }

  function turn(by) {
    page += by;
    show();
    get("gallery").scrollIntoView();
  }

  function showPageOf(place) {  // returns the button of its card
    page = Math.floor(place / PAGE);
    show();
    return cards.querySelector(`[data-place="${place}"]`);
  }

  function openRow(row, opener) {
    if (!selected.includes(row)) {
      form.reset();
      select();
    }
    window.vitrolloutViewer.look(selected.indexOf(row), opener);
  }

  // Events

  let pause;
  form.addEventListener("input", (event) => {
    clearTimeout(pause);
    if (event.target.type === "search") pause = setTimeout(select, 120);  // not at every letter
    else select();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(select));
  get("pages").addEventListener("click", (event) => {
    const button = event.target.closest("[data-turn]");
    if (button) turn(Number(button.dataset.turn));
  });
  cards.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) window.vitrolloutViewer.look(Number(button.dataset.place));
  });
  cards.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const buttons = [...cards.querySelectorAll("button")];
    if (by) buttons[buttons.indexOf(document.activeElement) + by]?.focus();
  });
  document.addEventListener("click", (event) => {
    const { row, filter } = event.target.closest?.("button")?.dataset ?? {};
    if (!index || (!row && !filter)) return;
    form.reset();
    if (filter) for (const [name, value] of Object.entries(JSON.parse(filter))) form.elements[name].value = value;
    select();
    if (row) openRow(Number(row));
    else get("gallery").scrollIntoView();
  });
})();
