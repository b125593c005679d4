// Elements of the page. All text from files and people goes in as textContent, never as HTML.

export const get = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function svgElement(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Fill a place with text, or hide it.
export function fill(id, text) {
  get(id).textContent = text ?? "";
  get(id).hidden = !text;
}

export const format = (number) => number.toLocaleString("en");
