// Turns a request into the lines that send it from a program.

/** Above this many characters the documents go into a file of their own. */
const LONG = 6000;

export const needsFile = (body) => JSON.stringify(body.documents).length > LONG;

export const documentsFile = (body) => body.documents.map((document) => JSON.stringify(document)).join("\n") + "\n";

/** `model` is the name of the default one: some clients cannot leave it out. */
export function snippet(language, body, { base, withKey, model }) {
  return WRITERS[language](body, { base: base.replace(/\/$/, ""), withKey, model });
}

const quoteShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(body, { base, withKey }) {
  const lines = [`curl -sS ${base}/v1/rerank \\`, `  -H 'content-type: application/json' \\`];
  if (withKey) lines.push(`  -H "authorization: Bearer $TAMIS_API_KEY" \\`);
  if (needsFile(body)) {
    const rest = { ...body };
    delete rest.documents;
    // jq puts the documents of the file into the rest of the request.
    return [`jq -s --argjson rest ${quoteShell(JSON.stringify(rest))} '$rest + {documents: .}' documents.jsonl |`, ...lines, "  -d @-"].join("\n");
  }
  return [...lines, `  -d ${quoteShell(JSON.stringify(body, null, 2))}`].join("\n");
}

function python(body, { base, withKey }) {
  const { documents, ...rest } = body;
  const imports = [...(needsFile(body) ? ["import json"] : []), ...(withKey ? ["import os"] : [])];
  return [
    ...imports,
    ...(imports.length ? [""] : []),
    "import requests",
    "",
    ...documentsOf(body),
    "response = requests.post(",
    `    ${literal(`${base}/v1/rerank`)},`,
    ...(withKey ? ['    headers={"authorization": f"Bearer {os.environ[\'TAMIS_API_KEY\']}"},'] : []),
    "    json={",
    ...Object.entries(rest).map(([name, value]) => `        ${literal(name)}: ${literal(value)},`),
    '        "documents": documents,',
    "    },",
    "    timeout=60,",
    ")",
    "response.raise_for_status()",
    'for result in response.json()["results"]:',
    '    print(result["index"], result["relevance_score"])',
  ].join("\n");
}

function cohere(body, { base, withKey, model: known }) {
  const { documents, query, model = known, top_n: topN, ...extra } = body;
  const named = documents.some((document) => typeof document !== "string");
  const key = withKey ? 'os.environ["TAMIS_API_KEY"]' : '"unused"';
  const imports = [...(needsFile(body) ? ["import json"] : []), ...(withKey ? ["import os"] : [])];
  return [
    ...imports,
    ...(imports.length ? [""] : []),
    "import cohere",
    "",
    ...documentsOf(body),
    `client = cohere.ClientV2(api_key=${key}, base_url=${literal(base)})`,
    "response = client.rerank(",
    `    model=${literal(model)},`,
    `    query=${literal(query)},`,
    // The client's own type is a list of strings.
    named
      ? '    documents=[d if isinstance(d, str) else d["text"] for d in documents],'
      : "    documents=documents,",
    ...(topN ? [`    top_n=${topN},`] : []),
    ...(Object.keys(extra).length ? [`    request_options={"additional_body_parameters": ${literal(extra)}},`] : []),
    ")",
    "for result in response.results:",
    "    print(result.index, result.relevance_score)",
  ].join("\n");
}

function documentsOf(body) {
  if (needsFile(body)) return ['documents = [json.loads(line) for line in open("documents.jsonl", encoding="utf-8")]'];
  return ["documents = [", ...body.documents.map((document) => `    ${literal(document)},`), "]"];
}

/** A value as Python writes it. */
function literal(value) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, part]) => `${literal(name)}: ${literal(part)}`).join(", ")}}`;
  return JSON.stringify(value);
}

const WRITERS = { curl, python, cohere };
