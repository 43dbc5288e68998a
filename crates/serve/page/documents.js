// Turns pasted text and files into the documents of a request.

const TEXT = ["text", "document", "passage", "content", "contents", "body"];
const ID = ["id", "_id", "doc_id", "docid", "document_id", "pid"];

/**
 * Documents of what stands in the box.
 * Returns `{documents, format, query, problem}`: `query` when the text was a whole request body, `problem` in plain words.
 */
export function parse(text, format = "auto") {
  const trimmed = text.trim();
  if (!trimmed) return { documents: [], format: "lines" };
  if (format === "paragraphs") {
    const documents = trimmed.split(/\n[ \t]*\n+/).map((part) => part.trim()).filter(Boolean);
    return { documents, format };
  }
  if (format === "json" || (format === "auto" && looksLikeJson(trimmed))) return parseJson(trimmed);
  return { documents: lines(text), format: "lines" };
}

function lines(text) {
  return text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
}

function looksLikeJson(trimmed) {
  if (!/^[[{"]/.test(trimmed)) return false;
  const first = trimmed.split("\n", 1)[0];
  return reads(first) || reads(trimmed);
}

function reads(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function parseJson(trimmed) {
  let whole;
  try {
    whole = JSON.parse(trimmed);
  } catch {
    return parseJsonLines(trimmed);
  }
  if (Array.isArray(whole)) return collect(whole, "entry");
  const body = whole && (whole.documents ?? whole.texts ?? whole.passages ?? whole.input);
  if (Array.isArray(body)) {
    const query = typeof whole.query === "string" ? whole.query : whole.query?.text;
    return { ...collect(body, "document"), query };
  }
  return collect([whole], "line");
}

function parseJsonLines(trimmed) {
  const values = [];
  for (const [number, line] of trimmed.split(/\r?\n/).entries()) {
    if (!line.trim()) continue;
    try {
      values.push(JSON.parse(line));
    } catch {
      return { documents: [], format: "json", problem: `Line ${number + 1} is not JSON.` };
    }
  }
  return collect(values, "line");
}

function collect(values, word) {
  const documents = [];
  for (const [number, value] of values.entries()) {
    const document = asDocument(value);
    if (document === null) {
      return { documents: [], format: "json", problem: `In ${word} ${number + 1} there is no text: a string, or an object with "text", is expected.` };
    }
    documents.push(document);
  }
  return { documents, format: "json" };
}

/** A string, `{id, text}` or `{id}` (a stored document), or null. */
function asDocument(value) {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return null;
  const field = TEXT.find((name) => typeof value[name] === "string");
  const idField = ID.find((name) => typeof value[name] === "string" || typeof value[name] === "number");
  const id = idField === undefined ? undefined : String(value[idField]);
  if (field === undefined) return id === undefined ? null : { id };
  const title = typeof value.title === "string" && value.title ? `${value.title} ` : "";
  const text = title + value[field];
  return id === undefined ? text : { id, text };
}

export const textOf = (document) => (typeof document === "string" ? document : document.text ?? "");
export const idOf = (document) => (typeof document === "string" ? undefined : document.id);

/**
 * What a file puts into the box: `{text, format, query, note}`.
 * Throws an Error in plain words when the file cannot be read as documents.
 */
export function fromFile(name, content) {
  const ending = name.toLowerCase().split(".").pop();
  const text = content.replace(/^\uFEFF/, "");
  if (text.includes("\0")) throw new Error(`${name} is not a text file.`);
  if (ending === "csv" || ending === "tsv") return fromTable(name, text, ending === "csv" ? delimiterOf(text) : "\t");
  if (ending === "json" || ending === "jsonl" || ending === "ndjson") {
    const parsed = parse(text, "json");
    if (parsed.problem) throw new Error(`${name}: ${parsed.problem}`);
    return { text: asText(parsed.documents), format: "auto", query: parsed.query, note: `${parsed.documents.length} documents from ${name}` };
  }
  return { text: text.trimEnd(), format: "auto", note: `${lines(text).length} lines from ${name}` };
}

/** Lines where every document is one line of plain text, JSON lines otherwise. */
function asText(documents) {
  const plain = documents.every((document) => typeof document === "string" && !/[\r\n]/.test(document) && document.trim() && !looksLikeJson(document.trim()));
  return documents.map((document) => (plain ? document : JSON.stringify(document))).join("\n");
}

function delimiterOf(text) {
  const first = text.split("\n", 1)[0];
  const count = (sign) => first.split(sign).length;
  return count(";") > count(",") ? ";" : ",";
}

function fromTable(name, text, delimiter) {
  const rows = table(text, delimiter).filter((row) => row.some((cell) => cell.trim()));
  if (!rows.length) throw new Error(`${name} is empty.`);
  const head = rows[0].map((cell) => cell.trim().toLowerCase());
  let textColumn = TEXT.map((word) => head.indexOf(word)).find((column) => column >= 0) ?? -1;
  const headed = textColumn >= 0;
  let idColumn = headed ? (ID.map((word) => head.indexOf(word)).find((column) => column >= 0) ?? -1) : -1;
  const body = headed ? rows.slice(1) : rows;
  if (!headed) {
    textColumn = longest(body);
    // Two columns without a heading are what MS MARCO and many others write: id, then text.
    if (textColumn > 0 && body.every((row) => row[0] && !/\s/.test(row[0].trim()))) idColumn = 0;
  }
  const queryColumn = headed ? head.indexOf("query") : -1;
  const queries = queryColumn < 0 ? [] : [...new Set(body.map((row) => row[queryColumn] ?? ""))];
  const documents = body
    .filter((row) => (row[textColumn] ?? "").trim())
    .map((row) => (idColumn < 0 ? row[textColumn].trim() : { id: row[idColumn].trim(), text: row[textColumn].trim() }));
  if (!documents.length) throw new Error(`${name} has no column with text.`);
  return {
    text: asText(documents),
    format: "auto",
    query: queries.length === 1 && queries[0] ? queries[0] : undefined,
    note: `${documents.length} documents from ${headed ? `column “${rows[0][textColumn].trim()}”` : `column ${textColumn + 1}`} of ${name}`,
  };
}

function longest(rows) {
  const totals = [];
  for (const row of rows) row.forEach((cell, column) => { totals[column] = (totals[column] ?? 0) + cell.length; });
  return totals.indexOf(Math.max(...totals));
}

/** Rows of cells; a tab-separated file has no quotes, a comma-separated one may. */
function table(text, delimiter) {
  if (delimiter === "\t") return text.split(/\r?\n/).map((line) => line.split("\t"));
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (quoted) {
      if (sign === '"' && text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else if (sign === '"') quoted = false;
      else cell += sign;
    } else if (sign === '"' && cell === "") quoted = true;
    else if (sign === delimiter) {
      row.push(cell);
      cell = "";
    } else if (sign === "\n" || sign === "\r") {
      if (sign === "\r" && text[at + 1] === "\n") at += 1;
      rows.push([...row, cell]);
      row = [];
      cell = "";
    } else cell += sign;
  }
  if (cell || row.length) rows.push([...row, cell]);
  return rows;
}
