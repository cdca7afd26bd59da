// Elements are built node by node: text is only ever text, whatever a model writes.

export const byId = (id) => document.getElementById(id);

// element("button", { type: "button", class: "icon", onclick }, "Copy")
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  drawing.append(use);
  return drawing;
}

export function iconButton(name, label, onclick, attributes = {}) {
  return element(
    "button",
    { type: "button", class: "icon", title: label, "aria-label": label, onclick, ...attributes },
    icon(name),
  );
}

// Copy a text and say so on the button for a moment.
export async function copyFrom(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return; // the browser asked, and was told no
  }
  say("Copied");
  const use = button.querySelector("use");
  use.setAttribute("href", "#icon-done");
  setTimeout(() => use.setAttribute("href", "#icon-copy"), 1500);
}

// Tell a screen reader, and nobody else.
export function say(words) {
  byId("status").textContent = words;
}
