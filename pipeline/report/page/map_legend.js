"use strict";
// The legend of the map: its buttons set the filters of the gallery, which dim the other points.

(() => {
  const COLOURS = 8;  // labels with a colour of their own, as in map_view.js
  const gallery = window.vitrolloutGallery, { form, element } = gallery;
  const legend = document.getElementById("map-legend");

  window.vitrolloutLegend = (points) => {
    const { index } = gallery, counts = new Map();
    for (const { row } of points) counts.set(index.label[row], (counts.get(index.label[row]) ?? 0) + 1);
    let others = 0;
    for (const [label, count] of [...counts].sort(([a], [b]) => a - b)) {
      if (label < COLOURS) addEntry({ field: "label", value: label }, dot(label), index.labels[label], count);
      else others += count;
    }
    if (others) {
      legend.append(element("span", {}, dot("other"), `other labels (${others.toLocaleString("en")})`));
    }
    const unlike = points.filter((point) => point.unlike).length;
    if (unlike) addEntry({ field: "familiar", value: "unlike" }, symbol("path", { d: "M6 1 L11.2 11 L0.8 11 Z" }), "unlike the training photos", unlike);
    document.addEventListener("selected", press);
    press();
  };

  function addEntry(filter, sign, text, count) {
    const button = element("button", { type: "button" }, sign, `${text} (${count.toLocaleString("en")})`);
    Object.assign(button.dataset, filter);
    legend.append(button);
  }

  function dot(colour) {
    const svg = symbol("circle", { cx: 6, cy: 6, r: 5 });
    svg.style.setProperty("--colour", `var(--label-${colour})`);
    return svg;
  }

  function symbol(tag, attributes) {
    const [svg, shape] = ["svg", tag].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("aria-hidden", "true");
    svg.append(shape);
    return svg;
  }

  function press() {
    for (const button of legend.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", form.elements[button.dataset.field].value === button.dataset.value);
    }
  }

  legend.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { field, value } = button.dataset, control = form.elements[field];
    control.value = control.value === value ? "" : value;
    gallery.select();
  });
})();
