"use strict";
// The viewer: one photo of the gallery, large, with its overlay. All text goes in as textContent.

(() => {
  const photos = document.body.dataset.photos;
  const MOST_DEFECTS = 6;
  const SHOWN_BY_BROWSERS = /\.(png|apng|jpe?g|jpe|jfif|gif|webp|avif|bmp)$/i;

  const get = (id) => document.getElementById(id);
  const gallery = window.vitrolloutGallery, { element, decision, badge } = gallery;
  const viewer = get("viewer");

  let open = null;    // place in the gallery's selection of the row shown
  let opener = null;  // element to go back to; null: the photo's card

  window.vitrolloutViewer = { look };

  async function look(place, from = null) {
    open = place;
    opener = from;
    const { index, selected } = gallery, row = selected[place], more = await gallery.details(row);
    if (open !== place) return;  // another photo was opened meanwhile
    const failed = index.label[row] < 0;
    get("viewer-path").textContent = index.path[row];
    get("viewer-verdict").textContent = failed ? more.error : `${index.labels[index.label[row]]}  ${index.score[row].toFixed(3)}`;
    get("viewer-verdict").classList.toggle("failed", failed);
    get("viewer-verdict").append(" ", decision(row), " ", badge(row));
    showPictures(index.path[row], more);
    const top = get("viewer-top");
    top.hidden = !more.top.length;
    top.tBodies[0]?.remove();
    top.append(element("tbody", {}, ...more.top.map(([label, score]) => {
      const bar = element("span", { className: "bar" });
      bar.style.setProperty("--share", score);
      return element("tr", {},
        element("th", { scope: "row", textContent: index.labels[label] }),
        element("td", {}, bar),
        element("td", { textContent: score.toFixed(3) }));
    })));
    const facts = {
      "Less typical than": index.unfamiliar?.[row] != null && `${(100 * index.unfamiliar[row]).toFixed(1)}% of training photos kept aside`,
      "Defects": listDefects(more.defects),
      "Defect score": more.defectScore?.toFixed(3), "Reviewed": more.review,
      "Note": more.note, "Size": more.size && `${more.size[0]} × ${more.size[1]} pixels`,
      "Processed": more.processed, "Run": index.runs[index.run[row]],
    };
    get("viewer-facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).flatMap(([name, value]) =>
      [element("dt", { textContent: name }), element("dd", { textContent: value })]));
    viewer.querySelector("[data-do='before']").disabled = place === 0;
    viewer.querySelector("[data-do='next']").disabled = place === selected.length - 1;
    if (!viewer.open) viewer.showModal();
  }

  function listDefects(defects) {  // the surest ones, each with its upper left corner
    const named = defects.slice(0, MOST_DEFECTS).map(({ label, score, place }) => `${label} ${score.toFixed(2)} at ${place[0]}, ${place[1]}`);
    const more = defects.length - named.length;
    return named.concat(more ? [`and ${more} more`] : []).join("; ");
  }

  function showPictures(path, more) {
    const photo = get("viewer-photo"), overlay = get("viewer-overlay"), original = `${photos}/${more.photo}`;
    viewer.querySelector(".pictures").classList.toggle("none", !more.overlay);
    get("open-photo").href = original;
    get("open-overlay").hidden = !more.overlay;
    if (!more.overlay) return;
    get("open-overlay").href = overlay.src = more.overlay;
    viewer.querySelector(".pictures").style.setProperty("--aspect", more.size[0] / more.size[1]);
    const small = () => {  // the thumbnail's left half: for formats that browsers don't show, and photos that moved
      photo.style.backgroundSize = "200% 100%";
      photo.style.backgroundImage = more.thumbnail ? `url("${more.thumbnail}")` : "none";
    };
    small();
    if (!SHOWN_BY_BROWSERS.test(path)) return;
    const full = new Image();
    full.onload = () => {
      if (overlay.getAttribute("src") !== more.overlay) return;
      photo.style.backgroundSize = "100% 100%";
      photo.style.backgroundImage = `url("${original}")`;
    };
    full.src = original;
  }

  function step(by) {
    const place = open + by;
    if (place >= 0 && place < gallery.selected.length) look(place, opener);
  }

  // Events

  viewer.addEventListener("click", (event) => {
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (action === "close" || event.target === viewer) viewer.close();
    else if (action) step(action === "next" ? 1 : -1);
  });
  viewer.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && event.target !== get("wipe")) step(by);
  });
  viewer.addEventListener("close", () => {
    const card = gallery.showPageOf(open);
    (opener ?? card)?.focus();
  });
  get("wipe").addEventListener("input", (event) => {
    viewer.querySelector(".stage").style.setProperty("--wipe", `${event.target.value}%`);
  });
  get("beside").addEventListener("click", (event) => {
    const beside = viewer.querySelector(".pictures").classList.toggle("beside");
    event.target.setAttribute("aria-pressed", beside);
  });
})();
