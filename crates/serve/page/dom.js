// Makes elements; text only ever goes in as text.

/** `el("p.note", {title: "x", onclick: f}, "words", child)`; null children are left out. */
export function el(name, ...rest) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const part of rest.flat()) {
    if (part === null || part === undefined || part === false) continue;
    if (typeof part === "string" || typeof part === "number" || part instanceof Node) node.append(part);
    else give(node, part);
  }
  return node;
}

function give(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export const byId = (id) => document.getElementById(id);

/** 0.4 ms, 23.4 ms, 412 ms, 1.25 s. */
export function millis(value) {
  if (!Number.isFinite(value)) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ms`;
}

const grouped = new Intl.NumberFormat("en");
export const count = (value) => grouped.format(value);
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Copies text, also where the page is not served over TLS and the clipboard is therefore closed to it. */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const box = el("textarea.visually-hidden", { "aria-hidden": "true", tabindex: "-1" });
  box.value = text;
  const before = document.activeElement;
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  before?.focus?.();
  if (!copied) throw new Error("the browser did not copy");
}

/** A button that copies and says so. */
export function copyButton(label, text) {
  const button = el("button.quiet", { type: "button" }, label);
  button.addEventListener("click", () => copyFrom(button, text()));
  return button;
}

export async function copyFrom(button, text) {
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await copyText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not copied";
  }
  setTimeout(() => { button.textContent = label; }, 1600);
}

/** Gives the person a file. */
export function save(name, text) {
  const place = URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" }));
  const link = el("a", { href: place, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(place), 1000);
}
