// The bottom line: what happened last, how far the work is, how fast it goes, and what the server doesn't have yet.

import { format, get } from "./dom.js";

const LAST = 30;  // decisions that make the pace

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function describeDuration(seconds) {
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export class Footer {
  #seconds = [];

  say(text, isWarning = false) {
    get("line").textContent = text;
    get("line").classList.toggle("warn", isWarning);
  }

  took(seconds) {
    this.#seconds.push(seconds);
    if (this.#seconds.length > LAST) this.#seconds.shift();
  }

  showProgress(decided, total, counts) {
    const left = total - decided, parts = [`${format(decided)} of ${format(total)}`];
    if (this.#seconds.length >= 3) {
      const pace = median(this.#seconds);
      parts.push(`${Math.max(1, Math.round(60 / Math.max(pace, 0.1)))} a minute`);
      if (left) parts.push(`${describeDuration(left * pace)} left`);
    }
    if (counts?.disputed) parts.push(`${format(counts.disputed)} disputed`);
    const { estimate } = counts ?? {};
    const share = (value) => (100 * value).toFixed(1);
    if (estimate?.photos)
      parts.push(`model right on ${format(estimate.correct)} of ${format(estimate.photos)} audited `
        + `(${share(estimate.low)}–${share(estimate.high)}%)`);
    get("figures").textContent = parts.join(" · ");
    get("progress").max = Math.max(1, total);
    get("progress").value = decided;
  }

  showUnsent({ count, isLate, problem }) {
    const place = get("unsent");
    place.classList.toggle("late", isLate);
    place.textContent = problem ? `${count} unsaved. ${problem}` : count ? `${count} unsaved` : "all saved";
  }
}
