// Keys. Dead in text fields, with Ctrl, Meta and Alt, and while a key repeats: a held key must not confirm ten photos.

const FIELDS = "input, textarea, select";
const CONTROLS = "button, a, select";
const REPEATABLE = new Set(["+", "=", "-"]);

// act(name, event) runs a command and returns whether there was one; mayRepeat(name) allows more keys to repeat.
export function listenToKeys({ act, release, mayRepeat }) {
  addEventListener("keydown", (event) => {
    const isUndo = event.ctrlKey && event.key === "z" && !event.altKey && !event.metaKey && !event.shiftKey;
    if (event.target.closest?.(FIELDS) || event.isComposing) return;
    if ((event.ctrlKey || event.metaKey || event.altKey) && !isUndo) return;
    const name = nameKey(event);
    if ((name === "Enter" || name === " ") && event.target.closest?.(CONTROLS)) return;  // it presses the button
    if (event.repeat && !REPEATABLE.has(name) && !mayRepeat(name)) {
      event.preventDefault();
      return;
    }
    if (act(name, event)) event.preventDefault();
  });
  addEventListener("keyup", (event) => release(nameKey(event)));
  addEventListener("blur", () => release("h"));
}

// The key's character in lower case; a digit by its place on keyboards with digits on the shifted level.
function nameKey({ key, code, shiftKey }) {
  const digit = /^Digit(\d)$/.exec(code ?? "");
  if (digit && !shiftKey && !/^[a-z?+=-]$/i.test(key)) return digit[1];
  return key.length === 1 ? key.toLowerCase() : key;
}
