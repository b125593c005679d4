// What the keys do, as told to people.

export const BUTTONS = [
  ["u", "unsure"], ["x", "unusable"], ["z", "undo"], ["l", "label"], ["b", "boxes"], ["g", "grid"],
  ["o", "heat map"], ["m", "next map"], ["s", "similar"], ["c", "note"], ["t", "guide"], ["?", "keys"],
];

export const HELP = {
  "A photo": [
    ["1 … 9", "that label, and on"], ["Enter, Space", "the label shown is right, and on"],
    ["u", "unsure, and on"], ["x", "the photo is unusable, and on"], ["z, Ctrl+Z", "take the last decision back"],
    ["→ ←, j k", "next, previous, without deciding"], ["l", "search all labels, or add one"], ["c", "note"],
  ],
  "Looking": [
    ["o", "heat map on and off"], ["h", "hold: the bare photo"], ["m", "map of the next method"],
    ["+ −, wheel", "zoom about the pointer"], ["drag", "move (boxes: middle button, or Ctrl)"], ["f", "fit"],
    ["s", "similar photos"], ["t", "guide to the label"], ["g", "grid of one label"],
  ],
  "Boxes (b)": [
    ["a", "accept all dashed ones"], ["Tab, Shift+Tab", "next, previous box"], ["Space", "accept the chosen dashed one"],
    ["drag", "draw; on a box: move or resize it"], ["Shift+drag", "draw over a box"],
    ["arrows", "move by 1 px, with Shift by 10"], ["r", "arrows resize, or move again"], ["n", "new box in the middle"],
    ["1 … 9", "label of the box; none chosen: of the photo"], ["Delete", "remove"], ["z", "undo"],
    ["Esc", "choose none; then leave"], ["Enter", "boxes are complete, and on"],
  ],
  "Grid (g)": [
    ["arrows, click", "choose, mark"], ["x", "mark as wrong"], ["1 … 9", "grid of that label"],
    ["Enter", "confirm all that are not marked"], ["g, Esc", "back to the photo"],
  ],
};
