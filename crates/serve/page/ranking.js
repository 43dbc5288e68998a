// Turns one answer into a ranking on the page.

import { copyButton, count, counted, el, millis, save } from "./dom.js";
import { idOf, textOf } from "./documents.js";

const PAGE = 100;

/** Rows of an answer: rank, place in the input, score and what was cut. */
export function rowsOf(answer, documents) {
  const cut = new Set(answer.meta?.truncated_documents ?? []);
  return answer.results.map((result, place) => ({
    rank: place + 1,
    index: result.index,
    id: result.id ?? idOf(documents[result.index]),
    text: textOf(documents[result.index] ?? "") || (result.document?.text ?? ""),
    score: result.relevance_score,
    cut: cut.has(result.index),
  }));
}

/** What is drawn for one setting: `{answer, documents, query, millis, marks, unit}`. */
export function drawRanking(outcome) {
  const rows = rowsOf(outcome.answer, outcome.documents);
  const share = scale(rows.map((row) => row.score), outcome.unit);
  const list = el("ol.rows");
  const more = el("button.quiet.more-rows", { type: "button" });
  let shown = 0;
  const extend = () => {
    const next = rows.slice(shown, shown + PAGE);
    list.append(...next.map((row) => drawRow(row, share(row.score), outcome)));
    shown += next.length;
    more.hidden = shown >= rows.length;
    more.textContent = `Show ${Math.min(PAGE, rows.length - shown)} more of ${count(rows.length - shown)}`;
  };
  more.addEventListener("click", () => {
    const first = shown;
    extend();
    list.children[first]?.querySelector("p")?.focus();
  });
  extend();
  return el("div.one",
    el("div.result-head",
      el("h2", `${counted(rows.length, "document")} ranked`, el("span.by", ` by ${outcome.name}`)),
      el("div.row-buttons",
        copyButton("Copy as a table", () => asTable(rows)),
        el("button.quiet", { type: "button", onclick: () => save("ranking.jsonl", asLines(rows)) }, "Save"))),
    drawCost({ ...outcome, name: undefined }),
    list,
    more);
}

function drawRow(row, share, outcome) {
  const fill = el("i");
  fill.style.width = `${(share * 100).toFixed(1)}%`;
  return el("li.row",
    el("div.place", el("b.rank", String(row.rank)), drawMove(row.index + 1 - row.rank, `position ${row.index + 1} in the input`)),
    el("div.what",
      drawDocument(row, outcome)),
    el("div.score", el("span.number", formatScore(row.score)), el("span.bar", { "aria-hidden": "true" }, fill)));
}

/** The text, and under it the id, the place in the input and whether the end was cut. */
export function drawDocument(row, outcome) {
  const [paragraph, button] = drawText(row.text || (row.id === undefined ? "" : "(a stored document)"), outcome);
  return [paragraph, el("p.about",
    row.id === undefined ? null : el("code.id", row.id),
    el("span", `input ${row.index + 1}`),
    row.cut ? el("span.badge", { title: "The end of this document did not fit and was not read." }, "cut") : null,
    button)];
}

/** ▲ 3, ▼ 1 or = with words for those who do not see it. */
export function drawMove(by, than) {
  if (by === 0) return el("span.move", el("span", { "aria-hidden": "true" }, "="), el("span.visually-hidden", `same as ${than}`));
  const up = by > 0;
  return el(up ? "span.move.up" : "span.move.down",
    el("span", { "aria-hidden": "true" }, `${up ? "▲" : "▼"}\u2009${Math.abs(by)}`),
    el("span.visually-hidden", `${up ? "up" : "down"} ${Math.abs(by)} from ${than}`));
}

/** The text in a few lines, with a button for the rest, and the words of the query marked. */
function drawText(text, { query, marks }) {
  const paragraph = el("p.doc", { tabindex: "-1", dir: "auto" });
  paragraph.append(...marked(text, marks ? wordsOf(query) : null));
  // Whether lines are hidden is only known once the paragraph has a size.
  const button = el("button.unfold", { type: "button", "aria-expanded": "false", hidden: true }, "all of it");
  button.addEventListener("click", () => {
    const open = paragraph.classList.toggle("open");
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "less" : "all of it";
  });
  watchSize(paragraph, () => {
    if (!paragraph.classList.contains("open")) button.hidden = paragraph.scrollHeight <= paragraph.clientHeight + 2;
  });
  return [paragraph, button];
}

const sizes = new ResizeObserver((entries) => entries.forEach((entry) => callbacks.get(entry.target)?.()));
const callbacks = new WeakMap();
function watchSize(node, callback) {
  callbacks.set(node, callback);
  sizes.observe(node);
}

const COMMON = new Set("the and for are was were not with from that this what why how who when where which does did can has have had you your its into than then them they there".split(" "));
function wordsOf(query) {
  const words = (query.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => (word.length > 2 || !/^[a-z]+$/.test(word)) && !COMMON.has(word));
  return words.length ? new Set(words) : null;
}

function marked(text, words) {
  if (!words) return [text];
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(/[\p{L}\p{N}]+/gu)) {
    if (!words.has(match[0].toLowerCase())) continue;
    parts.push(text.slice(from, match.index), el("mark", match[0]));
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

/** Where a score stands: probabilities from 0 to 1, logits between the lowest and the highest of the answer. */
export function scale(scores, unit) {
  if (unit) return (score) => Math.min(1, Math.max(0.01, score));
  const low = Math.min(...scores);
  const high = Math.max(...scores);
  return (score) => (high === low ? 1 : 0.03 + (0.97 * (score - low)) / (high - low));
}

export function formatScore(score) {
  if (!Number.isFinite(score)) return "–";
  const text = score !== 0 && Math.abs(score) < 0.0001 ? score.toExponential(1) : score.toFixed(Math.abs(score) >= 100 ? 2 : 4);
  return text.replace("-", "\u2212");
}

/** Where the time went, what was read, what was cut. */
export function drawCost({ answer, documents, millis: whole, requestId, name }) {
  const time = answer.meta?.timing_ms ?? {};
  const inside = time.total ?? whole;
  const parts = [
    ["tokenization", time.tokenization ?? 0, "reading"],
    ["queue", time.queue ?? 0, "waiting"],
    ["inference", time.inference ?? 0, "scoring"],
    ["other", Math.max(0, inside - (time.tokenization ?? 0) - (time.queue ?? 0) - (time.inference ?? 0)), "other work"],
    ["network", Math.max(0, whole - inside), "on the way"],
  ];
  const bar = el("div.timebar", { role: "img", "aria-label": `Of ${millis(whole)}: ${parts.map(([, value, word]) => `${word} ${millis(value)}`).join(", ")}` });
  for (const [part, value] of parts) {
    const piece = el(`i.${part}`);
    piece.style.flexGrow = String(Math.max(value, whole * 0.004));
    bar.append(piece);
  }
  const tokens = answer.usage?.total_tokens;
  const cut = answer.meta?.truncated_documents?.length ?? 0;
  const facts = el("ul.facts");
  // A dot in the colour of the bar's piece makes the list its legend.
  const fact = (value, word, part) => facts.append(el("li", part ? el(`i.dot.${part}`, { "aria-hidden": "true" }) : null, el("b", value), ` ${word}`));
  if (time.inference !== undefined) fact(millis(time.inference), "scoring", "inference");
  if (time.queue !== undefined) fact(millis(time.queue), "waiting", "queue");
  if (time.tokenization !== undefined) fact(millis(time.tokenization), "reading", "tokenization");
  fact(millis(Math.max(0, whole - inside)), "on the way", "network");
  fact(millis(inside), "in the server");
  if (Number.isFinite(tokens)) fact(count(tokens), tokens === 1 ? "token" : "tokens");
  if (time.inference > 0) fact(count(Math.round(documents.length / (time.inference / 1000))), "documents/s");
  if (requestId) facts.append(el("li.request-id", requestId));
  const notes = [];
  if (cut) {
    const dropped = answer.meta.dropped_tokens;
    notes.push(`${counted(cut, "document")} too long for the model: ${dropped ? `${counted(dropped, "token")} of the end ${dropped === 1 ? "was" : "were"} not read. ` : ""}“Long documents” under the setting reads all of it.`);
  }
  if (answer.meta?.truncated_query) notes.push("The query is too long for the model; its end was not read.");
  // The server says the same of cut documents in its own words.
  for (const warning of answer.meta?.warnings ?? []) if (!cut || !/truncat/i.test(warning)) notes.push(warning);
  return el("div.cost",
    name ? el("p.model-name", name) : null,
    bar, facts,
    notes.map((note) => el("p.note.warn", note)));
}

const clean = (text) => String(text).replaceAll(/[\t\r\n]+/g, " ");
function asTable(rows) {
  return ["rank\tscore\tinput\tid\ttext", ...rows.map((row) => [row.rank, row.score, row.index + 1, clean(row.id ?? ""), clean(row.text)].join("\t"))].join("\n") + "\n";
}
function asLines(rows) {
  return rows.map((row) => JSON.stringify({ rank: row.rank, score: row.score, index: row.index, id: row.id, text: row.text })).join("\n") + "\n";
}
