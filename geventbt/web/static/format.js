// Numbers in a readable form, and elements made of plain text: nothing here, or anywhere, is ever parsed as HTML.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit ? bytes.toFixed(1) : bytes} ${UNITS[unit]}`;
}

export const speed = (bytes) => `${size(bytes)}/s`;

export const percent = (fraction) => `${(Math.floor(fraction * 1000) / 10).toFixed(fraction < 1 ? 1 : 0)} %`;

export function time(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([length]) => seconds >= length);
  if (first < 0) return "0 s";
  let left = Math.round(seconds);
  return parts.slice(first, first + 2).map(([length, unit]) => {
    const count = Math.floor(left / length);
    left -= count * length;
    return count ? `${count} ${unit}` : "";
  }).filter(Boolean).join(" ");
}

// An element with attributes and content: texts and other elements.
export function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...content);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Writes only what has changed: to write an attribute costs, also where it is the same.
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function bar(fraction, label) {
  const fill = make("i");
  fill.style.width = `${fraction * 100}%`;
  return make("span", {
    class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": Math.floor(fraction * 100), "aria-valuetext": percent(fraction),
  }, fill, make("b", {}, percent(fraction)));
}

export function setBar(element, fraction) {
  const text = percent(fraction);
  if (element.lastChild.textContent === text) return;
  element.firstChild.style.width = `${fraction * 100}%`;
  element.lastChild.textContent = text;
  element.setAttribute("aria-valuenow", Math.floor(fraction * 100));
  element.setAttribute("aria-valuetext", text);
}
