"use strict";
// The map of the archive: a point for each photo, on a canvas. Its photos are rows of the gallery.

(() => {
  const COLOURS = 8;     // labels with a colour of their own, the most frequent ones
  const REACH = 16;      // pixels from the pointer to the photo that it means
  const MARGIN = 18;     // pixels around the points
  const GAP = 18;        // pixels between a photo and the tip about it

  const get = (id) => document.getElementById(id);
  const gallery = window.vitrolloutGallery, { element } = gallery;
  const canvas = get("map-canvas"), stage = get("map-stage"), tip = get("map-tip");

  let points = [];        // row, x, y, colour, unlike; and at: where it is drawn
  let shown = new Set();  // rows that pass the filters
  let active = null;      // the point under the pointer or the keys
  let zoom = 1, scale = 1, centre = { x: 0, y: 0 };  // of the view: pixels for each unit, and the point in its middle

  // map.js calls this, after index.js has brought the rows.

  window.vitrolloutMap = ({ row, x, y }) => {
    const { label } = gallery.index;
    points = row.map((number, at) => ({
      row: number, x: x[at], y: y[at], colour: label[number] < COLOURS ? label[number] : "other", unlike: gallery.isUnlike(number),
    }));
    points.sort((a, b) => a.unlike - b.unlike);  // the last are drawn on top
    showAll();
    window.vitrolloutLegend(points);
    get("map").hidden = false;
    new ResizeObserver(draw).observe(stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    document.addEventListener("selected", filter);
    filter();
  };

  const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;

  function showAll() {
    zoom = 1;
    centre = { x: middle(points.map((point) => point.x)), y: middle(points.map((point) => point.y)) };
  }

  function filter() {
    shown = new Set(gallery.selected);
    draw();
  }

  // Drawing

  function draw() {
    const { width, height } = stage.getBoundingClientRect(), ratio = devicePixelRatio;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.classList.toggle("zoomed", zoom > 1);
    place(width, height);
    const context = canvas.getContext("2d"), style = getComputedStyle(canvas);
    const colours = Object.fromEntries([...Array(COLOURS).keys(), "other"].map((name) => [name, style.getPropertyValue(`--label-${name}`)]));
    context.scale(ratio, ratio);
    const dimmed = points.filter((point) => !shown.has(point.row)), strong = points.filter((point) => shown.has(point.row));
    context.globalAlpha = 0.13;
    for (const point of dimmed) drawPoint(context, point, style.color);
    context.globalAlpha = points.length > 1500 ? 0.75 : 0.9;
    for (const point of strong) drawPoint(context, point, colours[point.colour], point.unlike && style.color);
    context.globalAlpha = 1;
    if (!active) return;
    drawRing(context, active, style.color);
    moveTip(active);
  }

  function place(width, height) {
    const xs = points.map((point) => point.x), ys = points.map((point) => point.y);
    const spans = [Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)];
    scale = zoom * Math.min((width - 2 * MARGIN) / (spans[0] || 1), (height - 2 * MARGIN) / (spans[1] || 1));
    for (const point of points) {
      point.at = { x: width / 2 + scale * (point.x - centre.x), y: height / 2 - scale * (point.y - centre.y) };
    }
  }

  function drawPoint(context, { at, unlike }, colour, outline) {
    context.beginPath();
    if (unlike) {
      context.moveTo(at.x, at.y - 7);
      context.lineTo(at.x + 6.5, at.y + 5);
      context.lineTo(at.x - 6.5, at.y + 5);
      context.closePath();
    } else {
      context.arc(at.x, at.y, points.length > 1500 ? 3 : 4.5, 0, 2 * Math.PI);
    }
    context.fillStyle = colour;
    context.fill();
    if (!outline) return;
    context.lineWidth = 1.5;
    context.strokeStyle = outline;
    context.stroke();
  }

  function drawRing(context, { at }, colour) {
    context.beginPath();
    context.arc(at.x, at.y, 11, 0, 2 * Math.PI);
    context.lineWidth = 2.5;
    context.strokeStyle = colour;
    context.stroke();
  }

  // The active photo

  const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

  function nearest(at, candidates) {
    return candidates.reduce((best, point) => (best && distance(best.at, at) <= distance(point.at, at) ? best : point), null);
  }

  function pointUnder(event) {
    const box = canvas.getBoundingClientRect(), at = { x: event.clientX - box.left, y: event.clientY - box.top };
    const near = points.filter((point) => distance(point.at, at) < REACH);
    return nearest(at, near.filter((point) => shown.has(point.row))) ?? nearest(at, near);
  }

  let pause;
  function activate(point) {
    if (point === active) return;
    active = point;
    clearTimeout(pause);
    canvas.style.cursor = point ? "pointer" : zoom > 1 ? "grab" : "default";
    tip.hidden = !point;
    if (point) fillTip(point);
    draw();
  }

  function fillTip(point) {
    const { index } = gallery, { row } = point;
    const label = `${index.labels[index.label[row]]} ${index.score[row].toFixed(3)}`;
    tip.replaceChildren(
      element("strong", { textContent: label }),
      ...(point.unlike ? [element("span", { className: "unlike", textContent: "unlike the training photos" })] : []),
      element("span", { className: "path", textContent: index.path[row] }));
    pause = setTimeout(() => showThumbnail(point), 60);  // not of every photo on the pointer's way
  }

  function showThumbnail(point) {
    gallery.details(point.row).then(({ thumbnail }) => {
      if (!thumbnail || active !== point) return;
      tip.prepend(element("img", { src: thumbnail, alt: "", onload: () => active === point && moveTip(point) }));
    }, () => {});
  }

  function moveTip({ at }) {
    const { width, height } = stage.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: high } = tip, inside = (start, size, room) => Math.max(4, Math.min(start, room - size - 4));
    const beside = [at.x + GAP, at.x - GAP - wide].find((left) => left >= 4 && left + wide <= width - 4);
    const below = at.y + GAP + high <= height - 4 ? at.y + GAP : at.y - GAP - high;
    tip.style.left = `${inside(beside ?? at.x - wide / 2, wide, width)}px`;
    tip.style.top = `${inside(beside === undefined ? below : at.y - high / 2, high, height)}px`;
  }

  function say() {
    get("map-said").textContent = active ? [...tip.children].map((part) => part.textContent).filter(Boolean).join(", ") : "";
  }

  function zoomBy(factor, around) {
    zoom = Math.min(64, zoom * factor);
    if (zoom <= 1) showAll();
    else if (around) centre = { x: around.x, y: around.y };
    draw();
  }

  // Events

  let grip = null;  // where a drag began
  canvas.addEventListener("pointerdown", (event) => {
    grip = { x: event.clientX, y: event.clientY, moved: false };
    if (zoom > 1) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) grip = null;
    if (!grip || zoom === 1) return activate(pointUnder(event));
    const by = { x: event.clientX - grip.x, y: event.clientY - grip.y };
    if (!grip.moved && Math.hypot(by.x, by.y) < 5) return;
    centre = { x: centre.x - by.x / scale, y: centre.y + by.y / scale };
    grip = { x: event.clientX, y: event.clientY, moved: true };
    activate(null);
    draw();
  });
  canvas.addEventListener("click", (event) => {
    const dragged = grip?.moved;
    grip = null;
    if (dragged) return;
    activate(pointUnder(event));
    if (active) gallery.openRow(active.row, canvas);
  });
  canvas.addEventListener("pointercancel", () => (grip = null));
  canvas.addEventListener("pointerleave", () => {
    if (!grip) leave();
  });
  canvas.addEventListener("blur", leave);

  function leave() {
    if (!get("viewer").open) activate(null);  // people come back from the viewer to the photo that they left
  }

  const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && active) gallery.openRow(active.row, canvas);
    else if (event.key === "+" || event.key === "=") zoomBy(2, active);
    else if (event.key === "-") zoomBy(0.5, active);
    else if (event.key === "Escape") activate(null);
    else if (WAYS[event.key]) go(WAYS[event.key]);
    else return;
    say();
    event.preventDefault();
  });

  function go([right, down]) {  // to the next photo in a direction; the first is the one in the middle
    const { width, height } = stage.getBoundingClientRect(), candidates = points.filter((point) => shown.has(point.row));
    if (!active) return activate(nearest({ x: width / 2, y: height / 2 }, candidates));
    const ahead = candidates.filter(({ at }) => {
      const along = (at.x - active.at.x) * right + (at.y - active.at.y) * down;
      const aside = Math.abs((at.x - active.at.x) * down) + Math.abs((at.y - active.at.y) * right);
      return along > 0 && along >= aside;
    });
    if (!ahead.length) return;
    activate(nearest(active.at, ahead));
    if (active.at.x >= 0 && active.at.y >= 0 && active.at.x <= width && active.at.y <= height) return;
    centre = { x: active.x, y: active.y };
    draw();
  }

  stage.addEventListener("click", (event) => {
    const factor = event.target.closest("[data-zoom]")?.dataset.zoom;
    if (factor) zoomBy(Number(factor), active);
  });
})();
