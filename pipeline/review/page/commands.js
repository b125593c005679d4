// What the keys do, as told to people. `Delete` and the like are the browser's names of keys.

const COMMON = [["o", "heat map"], ["m", "next map"], ["s", "similar"], ["c", "note"], ["t", "guide"], ["?", "keys"]];

// Buttons by mode: key, text.
export const BUTTONS = {
  photo: [["u", "unsure"], ["x", "unusable"], ["z", "undo"], ["l", "label"], ["b", "boxes"], ["g", "grid"], ...COMMON],
  boxes: [["a", "accept"], ["Tab", "next"], ["n", "new box"], ["r", "resize"], ["Delete", "remove"], ["z", "undo"],
    ["u", "unsure"], ["l", "label"], ["b", "leave"], ...COMMON],
  grid: [["x", "wrong"], ["Enter", "confirm"], ["z", "undo"], ["g", "leave"], ["?", "keys"]],
};

export const HELP = {
  photo: ["A photo; each of the first four goes on to the next", [
    ["1 … 9", "that label"], ["Enter, Space", "the label shown is right"], ["u", "unsure"], ["x", "the photo is unusable"],
    ["z, Ctrl+Z", "take the last decision back"], ["→ ←, j k", "next, previous photo"],
    ["l", "search the labels, add one"], ["c", "note"],
  ]],
  boxes: ["Boxes (b)", [
    ["a", "accept all dashed ones"], ["Tab, Shift+Tab", "next, previous box"], ["Space", "accept the chosen dashed one"],
    ["drag", "draw; on a box: move, resize"], ["Shift+drag", "draw over a box"],
    ["arrows", "move by 1 px, with Shift 10"], ["r", "arrows resize, or move again"], ["n", "new box in the middle"],
    ["1 … 9", "label of the box, or of all"], ["Delete", "remove"], ["z", "undo"], ["Esc", "choose none; leave"],
    ["Enter", "boxes are complete, and on"],
  ]],
  grid: ["Grid (g)", [
    ["arrows, click", "choose, mark"], ["x, Space", "mark as wrong"], ["1 … 9", "grid of that label"],
    ["Enter", "confirm all not marked"], ["g, Esc", "back to the photo"],
  ]],
  looking: ["Looking", [
    ["o", "heat map on and off"], ["h", "hold: the bare photo"], ["m", "map of the next method"],
    ["+ −, wheel", "zoom about the pointer"], ["drag", "move; boxes: middle button, Ctrl"], ["f", "fit"],
    ["s", "similar photos"], ["t", "guide to the label"],
  ]],
};
