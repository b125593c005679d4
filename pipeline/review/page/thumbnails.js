// Small pictures of photos.

import { getPicture } from "./api.js";
import { element } from "./dom.js";

// An image whose promise `ready` tells whether it can be seen.
export function buildThumbnail(row) {
  const image = element("img", { alt: "" });
  image.ready = load(row, image);
  return image;
}

async function load(row, image) {
  try {
    image.src = await getPicture(`/api/thumbnail/${row}`);
    await image.decode();
    URL.revokeObjectURL(image.src);
    return true;
  } catch {
    image.alt = "no picture";
    return false;
  }
}
