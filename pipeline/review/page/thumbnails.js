// Small pictures of photos.

import { getPicture } from "./api.js";
import { element } from "./dom.js";

export function buildThumbnail(row) {
  const image = element("img", { alt: "" });
  getPicture(`/api/thumbnail/${row}`).then((address) => {
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    image.src = address;
  }, () => (image.alt = "no picture"));
  return image;
}
