// Turns two answers for the same documents into two rankings side by side, with lines for what moved.

import { counted, el, millis, svg } from "./dom.js";
import { drawCost, drawDocument, drawMove, formatScore, rowsOf, scale } from "./ranking.js";

const SHOWN = 50;

/** `a` and `b` are outcomes as in `drawRanking`, each with a `name`. */
export function drawComparison(a, b) {
  const sides = [a, b].map((outcome) => {
    const rows = rowsOf(outcome.answer, outcome.documents);
    return { ...outcome, rows, share: scale(rows.map((row) => row.score), outcome.unit), rankOf: new Map(rows.map((row) => [row.index, row.rank])) };
  });
  const [left, right] = sides;
  const root = el("div.two",
    el("div.result-head", el("h2", "Two settings compared")),
    el("ul.verdict", verdict(left, right).map((line) => el("li", line))),
    el("div.costs", sides.map((side, number) => el(`div.side-${"ab"[number]}`, drawCost({ ...side, name: `${"AB"[number]} · ${side.name}` })))));
  const listA = drawSide(left, right, "A", "B");
  const listB = drawSide(right, left, "B", "A");
  const lines = svg("svg", { class: "lines", "aria-hidden": "true" });
  const slopes = el("div.slopes", listA, lines, listB);
  const order = el("p.note.narrow-only", "In the order of B; arrows say where a document moved from its place in A.");
  const more = Math.max(left.rows.length, right.rows.length) > SHOWN
    ? el("p.note", `The first ${SHOWN} of each are drawn; without “Compare” all are shown.`)
    : null;
  root.append(order, slopes, more ?? "");
  connect(slopes, listA, listB, lines, left, right);
  return root;
}

function drawSide(side, other, letter, otherLetter) {
  return el(`ol.rows.compact.side-${letter.toLowerCase()}`, { "aria-label": `Ranking ${letter}: ${side.name}` },
    side.rows.slice(0, SHOWN).map((row) => {
      const before = other.rankOf.get(row.index);
      const fill = el("i");
      fill.style.width = `${(side.share(row.score) * 100).toFixed(1)}%`;
      // What moved is told once, on the side of the new setting.
      const move = letter === "A" ? null
        : before === undefined ? el("span.move", el("span", { "aria-hidden": "true" }, "new"), el("span.visually-hidden", `not in ${otherLetter}`))
          : drawMove(before - row.rank, `rank ${before} in ${otherLetter}`);
      return el("li.row", { "data-index": row.index },
        el("div.place", el("b.rank", String(row.rank)), move),
        el("div.what", drawDocument(row, side)),
        letter === "B" ? drawTwin(other, row, before) : null,
        el("div.score", el("span.number", formatScore(row.score)), el("span.bar", { "aria-hidden": "true" }, fill)));
    }));
}

/** Where there is no room for two lists, the first setting is told inside the rows of the second. */
function drawTwin(other, row, before) {
  const score = other.rows[before - 1]?.score;
  const fill = el("i");
  if (before !== undefined) fill.style.width = `${(other.share(score) * 100).toFixed(1)}%`;
  return el("div.score.twin",
    el("span.number", before === undefined ? "not in A" : `${before} in A, ${formatScore(score)}`),
    el("span.bar", { "aria-hidden": "true" }, fill));
}

/** Lines between the same document on both sides, drawn again whenever something changes its size. */
function connect(slopes, listA, listB, lines, left, right) {
  const draw = () => {
    lines.replaceChildren();
    const frame = lines.getBoundingClientRect();
    if (frame.width < 8) return;
    const places = new Map([...listB.children].map((row) => [row.dataset.index, row]));
    for (const row of listA.children) {
      const twin = places.get(row.dataset.index);
      if (!twin) continue;
      const from = middle(row) - frame.top;
      const to = middle(twin) - frame.top;
      const by = left.rankOf.get(Number(row.dataset.index)) - right.rankOf.get(Number(row.dataset.index));
      const bend = frame.width / 2;
      const path = svg("path", { d: `M0 ${from} C${bend} ${from} ${bend} ${to} ${frame.width} ${to}`, "data-index": row.dataset.index, class: by > 0 ? "up" : by < 0 ? "down" : "same" });
      lines.append(path);
    }
  };
  const middle = (row) => {
    const box = row.querySelector(".place").getBoundingClientRect();
    return box.top + box.height / 2;
  };
  new ResizeObserver(draw).observe(slopes);
  const light = (event) => {
    const index = event.type === "pointerleave" || event.type === "focusout" ? undefined : event.target.closest?.("[data-index]")?.dataset.index;
    slopes.classList.toggle("lit", index !== undefined);
    for (const node of slopes.querySelectorAll("[data-index]")) node.classList.toggle("on", node.dataset.index === index);
  };
  slopes.addEventListener("pointerover", light);
  slopes.addEventListener("pointerleave", light);
  slopes.addEventListener("focusin", light);
  slopes.addEventListener("focusout", light);
}

/** What a person would say of the difference. */
export function verdict(left, right) {
  const lines = [];
  const topA = left.rows[0]?.index;
  const topB = right.rows[0]?.index;
  lines.push(topA === topB ? "The same document is first." : `Another document is first: ${quote(right.rows[0])} instead of ${quote(left.rows[0])}.`);
  const depth = Math.min(10, left.rows.length, right.rows.length);
  if (depth > 1) {
    const top = new Set(left.rows.slice(0, depth).map((row) => row.index));
    const both = right.rows.slice(0, depth).filter((row) => top.has(row.index)).length;
    const moved = right.rows.filter((row) => left.rankOf.get(row.index) !== row.rank).length;
    lines.push(`${both} of the first ${depth} in common, ${moved} of ${counted(right.rows.length, "document")} moved.`);
    const tau = kendall(left, right);
    if (tau !== null) lines.push(`Kendall's τ ${tau.toFixed(2)}.`);
  }
  const [timeA, timeB] = [left, right].map((side) => side.answer.meta?.timing_ms?.inference ?? side.millis);
  if (timeA > 0 && timeB > 0) {
    const [word, times] = timeB <= timeA ? ["faster", timeA / timeB] : ["slower", timeB / timeA];
    lines.push(times < 1.15 ? `Both took about ${millis(timeB)} to score.` : `B is ${times.toFixed(times < 10 ? 1 : 0)} times ${word}: ${millis(timeB)} against ${millis(timeA)}, in this one run.`);
  }
  return lines;
}

function quote(row) {
  if (!row) return "none";
  if (row.id !== undefined) return `“${row.id}”`;
  const words = row.text.split(/\s+/).slice(0, 5).join(" ");
  return `“${words}${words.length < row.text.length ? " …" : ""}”`;
}

/** Agreement in the order of what both sides show: 1 the same, −1 reversed; null for fewer than two. */
export function kendall(left, right) {
  const ranks = left.rows.filter((row) => right.rankOf.has(row.index)).map((row) => right.rankOf.get(row.index));
  const n = ranks.length;
  if (n < 2) return null;
  return 1 - (4 * inversions(ranks)) / (n * (n - 1));
}

function inversions(values) {
  if (values.length < 2) return 0;
  const half = values.length >> 1;
  const a = values.slice(0, half);
  const b = values.slice(half);
  let found = inversions(a) + inversions(b);
  // Both halves are sorted by the calls above; merging counts the pairs across.
  let i = 0;
  let j = 0;
  for (let at = 0; at < values.length; at += 1) {
    if (j >= b.length || (i < a.length && a[i] <= b[j])) values[at] = a[i++];
    else {
      values[at] = b[j++];
      found += a.length - i;
    }
  }
  return found;
}
