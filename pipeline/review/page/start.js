// What the page begins with, asked for while the other modules are still loading.

import { getJson } from "./api.js";

export const started = getJson("/api/start");
started.catch(() => {});  // told by review.js
