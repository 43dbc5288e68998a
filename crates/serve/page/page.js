// The playground: what is typed and chosen goes to the server, what comes back is drawn.

import { drawComparison } from "./compare.js";
import { byId, copyFrom, count, counted, el, millis, save } from "./dom.js";
import { fromFile, parse } from "./documents.js";
import { EXAMPLES } from "./examples.js";
import { drawRanking } from "./ranking.js";
import { address, bodyOf, Fault, getJson, rerank } from "./request.js";
import { documentsFile, needsFile, snippet } from "./snippets.js";
import { fresh, keep, link, load, readKey, writeKey } from "./state.js";

const LONG_DOCUMENTS = [["", "as the server is set"], ["first", "read the beginning"], ["max", "in pieces: best piece"], ["mean", "in pieces: mean"], ["top3-mean", "in pieces: mean of best three"], ["sum", "in pieces: sum"]];
const RATIOS = ["1", "2", "4", "8"];
const SHARED = ["top_n", "timeout_ms", "window", "overlap", "priority"];

let state = fresh();
let info = null;
let running = null;
let timer = null;
let countdown = null;

const models = () => info?.models ?? [];
const modelOf = (side) => models().find((model) => model.name === state[side].model) ?? models().find((model) => model.is_default) ?? models()[0];
const mobile = () => matchMedia("(max-width: 62rem)").matches;

// ---------------------------------------------------------------- the server

async function greet() {
  const sign = byId("server");
  try {
    info = await getJson("info", readKey());
    sign.dataset.state = "ready";
    const names = models().map((model) => model.name);
    const shown = names.length === 1 ? names[0] : counted(names.length, "model");
    sign.lastElementChild.textContent = `${shown}, ready`;
    sign.title = `Tamis ${info.version ?? ""} · ${names.join(", ")}`;
  } catch (fault) {
    sign.dataset.state = "down";
    sign.lastElementChild.textContent = fault.needsKey ? "Key needed" : "No answer";
    if (fault.needsKey) askForKey(fault);
    else showFault(fault, greet);
    return;
  }
  hideFault();
  drawKnobs();
  countDocuments();
  const ready = await fetch(address("ready"), { cache: "no-store" }).catch(() => null);
  if (ready && !ready.ok) {
    sign.dataset.state = "wait";
    sign.lastElementChild.textContent = "Not taking work";
  }
}

// ---------------------------------------------------------------- settings

function drawKnobs() {
  for (const side of ["a", "b"]) {
    const model = modelOf(side);
    const setting = state[side];
    // A setting out of a link or of yesterday may name what this server does not have.
    if (setting.model && !models().some((known) => known.name === setting.model)) setting.model = "";
    if (setting.exit && !model?.depths?.map(String).includes(setting.exit)) setting.exit = "";
    if (setting.ratio && !model?.has_ratio) setting.ratio = "";
    const knobs = [];
    const names = models().map((known) => [known.is_default ? "" : known.name, known.name]);
    if (names.length > 1) knobs.push(knob(side, "model", "Model", names));
    if (model?.depths?.length) {
      const deepest = Math.max(...model.depths);
      knobs.push(knob(side, "exit", "Exit", [["", `${deepest}, the deepest`], ...model.depths.filter((depth) => depth !== deepest).sort((x, y) => y - x).map((depth) => [String(depth), `layer ${depth}`])]));
    }
    if (model?.has_ratio) knobs.push(knob(side, "ratio", "Compression", [["", "as the model is set"], ...RATIOS.map((ratio) => [ratio, ratio === "1" ? "none" : `${ratio} tokens to 1`])]));
    knobs.push(knob(side, "long_documents", "Long documents", LONG_DOCUMENTS));
    byId(`setting-${side}`).querySelector(".knobs").replaceChildren(...knobs);
  }
  compareChanged();
}

function knob(side, name, label, choices) {
  const select = el("select", { id: `${side}-${name}` }, choices.map(([value, words]) => el("option", { value }, words)));
  select.value = state[side][name];
  select.addEventListener("change", () => {
    state[side][name] = select.value;
    if (name === "model") {
      drawKnobs();
      byId(`${side}-model`)?.focus();
    }
    changed();
  });
  return el("label", label, select);
}

/** When comparing begins with two equal settings, the second becomes what is most worth comparing. */
function suggestB() {
  if (JSON.stringify(state.a) !== JSON.stringify(state.b)) return;
  const model = modelOf("a");
  const other = models().find((known) => known !== model);
  if (model?.depths?.length > 1) {
    const current = Number(state.a.exit) || Math.max(...model.depths);
    const next = model.depths.filter((depth) => depth < current).pop() ?? Math.max(...model.depths);
    state.b.exit = next === Math.max(...model.depths) ? "" : String(next);
  } else if (other) state.b = { ...state.a, model: other.is_default ? "" : other.name, exit: "", ratio: "" };
  else state.b.long_documents = state.a.long_documents === "max" ? "first" : "max";
}

function compareChanged() {
  byId("compare").checked = state.compare;
  byId("setting-b").hidden = !state.compare;
  document.body.classList.toggle("comparing", state.compare);
  byId("same").hidden = !state.compare || JSON.stringify(state.a) !== JSON.stringify(state.b);
  byId("run").querySelector(".run-word").textContent = state.compare ? "Rank both" : "Rank";
  byId("code-side").hidden = !state.compare;
}

function fill() {
  byId("query").value = state.query;
  byId("documents").value = state.documents;
  byId("format").value = state.format;
  for (const name of SHARED) byId(name).value = state.shared[name];
  byId("raw_scores").checked = state.shared.raw_scores;
  byId("marks").checked = state.shared.marks;
  const set = SHARED.some((name) => state.shared[name] !== "") || state.shared.raw_scores;
  if (set) byId("more").open = true;
  drawKnobs();
  countDocuments();
}

let saving = null;
function changed() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    keep(state);
    showCode();
  }, 300);
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  compareChanged();
}

// ---------------------------------------------------------------- documents

// Reading a megabyte at every key would be felt.
const LONG_TEXT = 200_000;
let counting = null;
function countSoon() {
  clearTimeout(counting);
  if (state.documents.length < LONG_TEXT) countDocuments();
  else counting = setTimeout(countDocuments, 300);
}

function countDocuments() {
  const parsed = parse(state.documents, state.format);
  const note = byId("documents-note");
  const limit = info?.limits?.max_documents;
  note.classList.remove("bad");
  note.replaceChildren();
  if (parsed.problem) {
    note.classList.add("bad");
    note.append(parsed.problem);
  } else if (!parsed.documents.length) note.append("No documents yet");
  else {
    const kind = { json: " in JSON", paragraphs: "", lines: "" }[parsed.format];
    note.append(`${counted(parsed.documents.length, "document")}${kind}`);
    if (limit && parsed.documents.length > limit) {
      note.classList.add("bad");
      note.append(`; the server takes ${count(limit)} at a time. `,
        el("button.link", { type: "button", onclick: () => take(parsed.documents.slice(0, limit)) }, `Keep the first ${count(limit)}`));
    }
  }
  return parsed;
}

/** Puts documents back into the box. */
function take(documents) {
  const plain = documents.every((document) => typeof document === "string" && !document.includes("\n"));
  state.documents = documents.map((document) => (plain ? document : JSON.stringify(document))).join("\n");
  state.format = "auto";
  fill();
  changed();
}

async function openFile(file) {
  const limit = info?.limits?.max_body_bytes ?? 32_000_000;
  const note = byId("documents-note");
  try {
    if (file.size > limit) throw new Error(`${file.name} is larger than the ${Math.round(limit / 1e6)} MB that the server takes in one request.`);
    const read = fromFile(file.name, await file.text());
    state.documents = read.text;
    state.format = read.format;
    if (read.query) state.query = read.query;
    fill();
    changed();
    note.append(` · ${read.note}`);
  } catch (error) {
    note.classList.add("bad");
    note.textContent = error.message;
  }
}

// ---------------------------------------------------------------- ranking

async function run() {
  if (running) return;
  const parsed = countDocuments();
  if (parsed.query && !state.query.trim()) {
    state.query = parsed.query;
    byId("query").value = parsed.query;
  }
  const query = byId("query");
  const note = byId("query-note");
  note.hidden = Boolean(state.query.trim());
  query.setAttribute("aria-invalid", String(!state.query.trim()));
  if (!state.query.trim()) {
    note.textContent = "A query is needed.";
    note.classList.add("bad");
    query.focus();
    return;
  }
  if (!parsed.documents.length) {
    if (!parsed.problem) byId("documents-note").textContent = "At least one document is needed.";
    byId("documents-note").classList.add("bad");
    byId("documents").focus();
    return;
  }
  const sides = state.compare ? ["a", "b"] : ["a"];
  const control = new AbortController();
  running = control;
  busy(true);
  hideFault();
  try {
    const outcomes = [];
    // One after the other, so that neither waits for the other in the queue.
    for (const side of sides) {
      const done = await rerank(bodyOf(state, side, parsed.documents), readKey(), control.signal);
      const unit = modelOf(side)?.activation === "sigmoid" && !state.shared.raw_scores;
      outcomes.push({ ...done, documents: parsed.documents, query: state.query, marks: state.shared.marks, unit, name: nameOf(side) });
    }
    show(outcomes);
  } catch (error) {
    if (error.name === "AbortError") {
      say("Cancelled.");
      byId("ranking").classList.remove("stale");
    } else if (error instanceof Fault) {
      if (error.needsKey) askForKey(error, run);
      showFault(error, run);
    } else throw error;
  } finally {
    running = null;
    busy(false);
  }
}

function nameOf(side) {
  const setting = state[side];
  const words = [modelOf(side)?.name ?? "default"];
  if (setting.exit) words.push(`exit ${setting.exit}`);
  else if (modelOf(side)?.depths?.length) words.push(`exit ${Math.max(...modelOf(side).depths)}`);
  if (setting.ratio) words.push(`ratio ${setting.ratio}`);
  if (setting.long_documents) words.push(setting.long_documents);
  return words.join(", ");
}

function show(outcomes) {
  const place = byId("ranking");
  byId("empty").hidden = true;
  place.classList.remove("stale");
  place.replaceChildren(outcomes.length === 2 ? drawComparison(...outcomes) : drawRanking(outcomes[0]));
  document.body.classList.add("ranked");
  const [first] = outcomes;
  const best = first.answer.results[0];
  say(`${counted(first.answer.results.length, "document")} ranked in ${millis(first.answer.meta?.timing_ms?.total ?? first.millis)}. ${best ? `First is document ${best.index + 1} of the input.` : ""}`);
  showCode();
  if (mobile()) byId("result").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

function say(words) {
  byId("live").textContent = words;
}

function busy(on) {
  const button = byId("run");
  button.setAttribute("aria-busy", String(on));
  button.setAttribute("aria-disabled", String(on));
  byId("ask").classList.toggle("busy", on);
  clearTimeout(timer);
  byId("cancel").hidden = true;
  if (!on) {
    compareChanged();
    return;
  }
  // Short requests should not make the page flicker.
  timer = setTimeout(() => {
    byId("cancel").hidden = false;
    button.querySelector(".run-word").textContent = "Ranking …";
    byId("ranking").classList.add("stale");
  }, 250);
}

// ---------------------------------------------------------------- faults

function showFault(fault, again) {
  const box = byId("fault");
  clearInterval(countdown);
  const retry = fault.again || fault.reload
    ? el("button.quiet", { type: "button" }, fault.reload ? "Ask for the models again" : "Try again")
    : null;
  retry?.addEventListener("click", () => {
    hideFault();
    if (fault.reload) greet();
    else again();
  });
  box.replaceChildren(el("div.fault",
    el("h2", fault.title),
    fault.text ? el("p.server-words", fault.text) : null,
    fault.advice ? el("p", fault.advice) : null,
    el("div.row-buttons", retry, fault.needsKey ? el("button.quiet", { type: "button", onclick: () => askForKey(fault, again) }, "Enter a key") : null,
      fault.requestId ? el("span.request-id", `request ${fault.requestId}`) : null)));
  box.hidden = false;
  byId("ranking").classList.remove("stale");
  byId("empty").hidden = true;
  say(`${fault.title}. ${fault.text ?? ""} ${fault.advice ?? ""}`);
  if (mobile()) box.scrollIntoView({ block: "nearest" });
  if (fault.wait && retry) {
    let left = Math.ceil(fault.wait);
    const tick = () => {
      retry.textContent = left > 0 ? `Try again (in ${left} s by itself)` : "Try again";
      if (left <= 0) {
        clearInterval(countdown);
        retry.click();
      }
      left -= 1;
    };
    tick();
    countdown = setInterval(tick, 1000);
  }
}

function hideFault() {
  clearInterval(countdown);
  byId("fault").hidden = true;
  byId("empty").hidden = document.body.classList.contains("ranked");
}

// ---------------------------------------------------------------- key

let afterKey = null;
function askForKey(fault, then) {
  afterKey = then ?? greet;
  byId("key-why").textContent = fault && readKey() ? "This key was not accepted. Whoever runs the server can give you one." : "This server asks for a key. Whoever runs it can give you one.";
  byId("key-value").value = readKey();
  if (!byId("key-box").open) byId("key-box").showModal();
}

byId("key-box").addEventListener("close", async () => {
  const choice = byId("key-box").returnValue;
  if (choice === "use") writeKey(byId("key-value").value.trim(), byId("key-keep").checked);
  else if (choice === "forget") writeKey("", false);
  else return;
  byId("key-value").value = "";
  const then = afterKey;
  afterKey = null;
  hideFault();
  await greet();
  if (then && then !== greet && choice === "use" && info) then();
  showCode();
});

// ---------------------------------------------------------------- code

let language = "curl";
function codeBody() {
  const parsed = parse(state.documents, state.format);
  if (!parsed.documents.length || !state.query.trim()) return null;
  return bodyOf(state, state.compare ? byId("code-setting").value : "a", parsed.documents);
}

function showCode() {
  const body = document.body.classList.contains("ranked") ? codeBody() : null;
  byId("code").hidden = !body;
  if (!body) return;
  byId("snippet").firstElementChild.textContent = snippet(language, body, {
    base: address("."),
    withKey: Boolean(readKey()) || info?.keys === true,
    model: modelOf(state.compare ? byId("code-setting").value : "a")?.name,
  });
  byId("save-documents").hidden = !needsFile(body);
}

function chooseTab(tab) {
  language = tab.dataset.language;
  for (const other of byId("code").querySelectorAll("[role=tab]")) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
  byId("snippet").setAttribute("aria-labelledby", tab.id);
  showCode();
}

// ---------------------------------------------------------------- wiring

function wire() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  byId("cancel").addEventListener("click", () => running?.abort());
  byId("query").addEventListener("input", (event) => {
    state.query = event.target.value;
    byId("query-note").hidden = true;
    event.target.removeAttribute("aria-invalid");
    changed();
  });
  byId("documents").addEventListener("input", (event) => {
    state.documents = event.target.value;
    countSoon();
    changed();
  });
  byId("format").addEventListener("change", (event) => {
    state.format = event.target.value;
    countDocuments();
    changed();
  });
  for (const name of SHARED) byId(name).addEventListener("input", (event) => {
    state.shared[name] = event.target.value;
    changed();
  });
  for (const name of ["raw_scores", "marks"]) byId(name).addEventListener("change", (event) => {
    state.shared[name] = event.target.checked;
    changed();
  });
  byId("compare").addEventListener("change", (event) => setCompare(event.target.checked));
  byId("example").addEventListener("click", () => runExample(nextExample));
  byId("open").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    if (event.target.files[0]) openFile(event.target.files[0]);
    event.target.value = "";
  });
  byId("clear").addEventListener("click", () => {
    state.documents = "";
    state.format = "auto";
    fill();
    changed();
    byId("documents").focus();
  });
  byId("key").addEventListener("click", () => askForKey());
  byId("help").addEventListener("click", () => byId("help-box").showModal());
  byId("copy").addEventListener("click", (event) => copyFrom(event.target, byId("snippet").textContent));
  byId("link").addEventListener("click", async (event) => copyFrom(event.target, await link(state)));
  byId("save-documents").addEventListener("click", () => save("documents.jsonl", documentsFile(codeBody())));
  byId("code-setting").addEventListener("change", showCode);
  const tabs = [...byId("code").querySelectorAll("[role=tab]")];
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => chooseTab(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      chooseTab(next);
      next.focus();
    });
  }
  wireDrop();
  document.addEventListener("keydown", shortcuts);
  window.addEventListener("hashchange", begin);
  window.addEventListener("pagehide", () => keep(state));
}

function setCompare(on) {
  state.compare = on;
  if (on) suggestB();
  drawKnobs();
  changed();
}

function shortcuts(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (!document.querySelector("dialog[open]")) run();
    return;
  }
  if (event.key === "Escape" && running) running.abort();
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, textarea, select")) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("query").focus();
  } else if (event.key === "?") byId("help-box").showModal();
  else if (event.key === "c") setCompare(!state.compare);
}

function wireDrop() {
  const sheet = byId("drop");
  let inside = 0;
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const put = (on) => {
    inside = Math.max(0, on);
    sheet.hidden = inside === 0;
  };
  window.addEventListener("dragenter", (event) => { if (carries(event)) put(inside + 1); });
  window.addEventListener("dragleave", (event) => { if (carries(event)) put(inside - 1); });
  window.addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  window.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    put(0);
    if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
  });
}

let nextExample = 0;
function runExample(place) {
  const example = EXAMPLES[place];
  nextExample = (place + 1) % EXAMPLES.length;
  const setting = fresh().a;
  state = { ...fresh(), query: example.query, documents: example.documents, compare: Boolean(example.compare), a: { ...setting, ...example.a }, b: { ...setting, ...(example.b ?? example.a) } };
  fill();
  changed();
  run();
}

function drawExamples() {
  byId("examples").replaceChildren(...EXAMPLES.map((example, place) => el("button.example", { type: "button", onclick: () => runExample(place) }, el("b", example.name), el("span", example.hint))));
}

async function begin() {
  const read = await load();
  state = read.state;
  fill();
  if (read.broken) showFault(new Fault({ title: "This link is broken", text: "What stands after the # could not be read.", advice: "It may have been cut on its way." }), run);
  await greet();
  if (read.linked && info) run();
}

wire();
drawExamples();
begin();
