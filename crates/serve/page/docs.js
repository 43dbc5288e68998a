// Turns /openapi.json into a page: every route with its body, its answers, its errors, and a line that calls it.

import { byId, copyButton, el } from "./dom.js";
import { address, getJson } from "./request.js";
import { exampleOf, resolve, typeOf } from "./schema.js";
import { readKey } from "./state.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

async function begin() {
  let api;
  try {
    api = await getJson("openapi.json", readKey());
  } catch (fault) {
    byId("wait").replaceWith(el("div.fault", el("h1", fault.title), el("p.server-words", fault.text ?? ""), el("p", fault.advice ?? ""),
      fault.needsKey ? el("p", el("a", { href: "." }, "Enter a key on the playground"), " and come back.") : null));
    return;
  }
  const operations = Object.entries(api.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method], parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])] })));
  for (const operation of operations) operation.anchor = `${operation.method}${operation.path.replaceAll(/[^\w]+/g, "-")}`;
  const groups = grouped(api, operations);
  byId("operations").replaceChildren(
    el("header.intro",
      el("h1", api.info?.title ?? "API"),
      el("p.note", `Version ${api.info?.version ?? "?"} · `, el("a", { href: "openapi.json" }, "openapi.json")),
      ...prose(api.info?.description)),
    ...groups.map(([tag, list]) => el("section.group", el("h2", tag.name), ...prose(tag.description), list.map((operation) => drawOperation(api, operation)))));
  byId("contents").replaceChildren(...groups.map(([tag, list]) => el("div.contents-group", el("h2", tag.name),
    el("ul", list.map((operation) => el("li", { "data-words": `${operation.method} ${operation.path} ${operation.summary ?? ""}`.toLowerCase() },
      el("a", { href: `#${operation.anchor}` }, method(operation.method), el("span", operation.path))))))));
  byId("find").addEventListener("input", find);
  if (location.hash) byId(location.hash.slice(1))?.scrollIntoView();
}

/** Operations under their first tag, tags in the order in which the document names them. */
function grouped(api, operations) {
  const known = new Map((api.tags ?? []).map((tag) => [tag.name, [tag, []]]));
  for (const operation of operations) {
    const name = operation.tags?.[0] ?? "Routes";
    if (!known.has(name)) known.set(name, [{ name }, []]);
    known.get(name)[1].push(operation);
  }
  return [...known.values()].filter(([, list]) => list.length);
}

function find(event) {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const line of byId("contents").querySelectorAll("li")) line.hidden = !words.every((word) => line.dataset.words.includes(word));
  for (const group of byId("contents").querySelectorAll(".contents-group")) group.hidden = ![...group.querySelectorAll("li")].some((line) => !line.hidden);
}

const method = (name) => el(`span.method.${name}`, name.toUpperCase());

function drawOperation(api, operation) {
  const [bodyType, body] = Object.entries(operation.requestBody?.content ?? resolve(api, operation.requestBody)?.content ?? {})[0] ?? [];
  const example = body ? bodyExample(api, body) : undefined;
  const examples = body?.examples ? Object.entries(body.examples).map(([name, value]) => [resolve(api, value).summary ?? name, resolve(api, value).value]) : [];
  return el("article.operation", { id: operation.anchor },
    el("h3", method(operation.method), el("code", operation.path)),
    operation.deprecated ? el("p.badge", "deprecated") : null,
    operation.summary ? el("p.summary", ...inline(operation.summary)) : null,
    ...prose(operation.description),
    operation.parameters.length ? [el("h4", "Parameters"), drawParameters(api, operation.parameters)] : null,
    body ? [el("h4", "Body"), el("p.note", bodyType), drawSchema(api, body.schema, 0)] : null,
    el("h4", "Call it"),
    (examples.length > 1 ? examples : [[null, example]]).map(([name, value]) => drawCode(name, callOf(operation, value))),
    el("h4", "Answers"),
    Object.entries(operation.responses ?? {}).map(([status, response]) => drawResponse(api, status, resolve(api, response))));
}

function bodyExample(api, body) {
  if (body.example !== undefined) return body.example;
  const first = Object.values(body.examples ?? {})[0];
  return first === undefined ? exampleOf(api, body.schema) : resolve(api, first).value;
}

function callOf(operation, example) {
  const lines = [`curl -sS${operation.method === "get" ? "" : ` -X ${operation.method.toUpperCase()}`} ${address(operation.path.slice(1))}`];
  if (readKey()) lines.push(`  -H "authorization: Bearer $TAMIS_API_KEY"`);
  if (example !== undefined && operation.method !== "get") {
    lines.push("  -H 'content-type: application/json'");
    lines.push(`  -d '${JSON.stringify(example, null, 2).replaceAll("'", "'\\''")}'`);
    lines[0] = lines[0].replace(" -X POST", "");
  }
  return lines.join(" \\\n");
}

function drawCode(name, text) {
  return el("div.snippet", name ? el("p.note", name) : null, el("pre", { tabindex: "0", "aria-label": name ?? "Example" }, el("code", text)), copyButton("Copy", () => text));
}

function drawParameters(api, parameters) {
  return el("dl.fields", parameters.map((given) => resolve(api, given)).flatMap((parameter) => [
    el("dt", el("code", parameter.name), el("span.type", `${typeOf(api, parameter.schema)} in ${parameter.in}`), parameter.required ? el("span.need", "required") : null),
    el("dd", ...prose(parameter.description)),
  ]));
}

function drawResponse(api, status, response) {
  const good = status.startsWith("2");
  const [type, content] = Object.entries(response?.content ?? {})[0] ?? [];
  const example = content ? bodyExample(api, content) : undefined;
  const headers = Object.entries(response?.headers ?? {});
  const inside = [
    content?.schema ? drawSchema(api, content.schema, 0) : null,
    headers.length ? el("dl.fields", headers.flatMap(([name, header]) => [el("dt", el("code", name), el("span.type", "header")), el("dd", ...prose(resolve(api, header).description))])) : null,
    example !== undefined && type?.includes("json") ? drawCode(null, JSON.stringify(example, null, 2)) : null,
  ].filter(Boolean);
  const head = [el(good ? "span.status.good" : "span.status", status), " ", ...inline(response?.description ?? ""), type ? el("span.type", ` ${type}`) : null];
  return inside.length ? el("details.response", good ? { open: true } : {}, el("summary", head), inside) : el("p.response.flat", head);
}

/** Fields of an object with their types; what is nested opens on demand. */
function drawSchema(api, given, depth) {
  const schema = resolve(api, given);
  if (!schema || depth > 6) return null;
  const choices = (schema.oneOf ?? schema.anyOf ?? []).filter((choice) => resolve(api, choice)?.type !== "null");
  if (choices.length > 1) {
    return el("div.choices", choices.map((choice, place) => {
      const part = resolve(api, choice);
      const title = part?.title ?? choice.title ?? choice.$ref?.split("/").pop() ?? typeOf(api, choice);
      const inside = drawSchema(api, choice, depth + 1);
      return inside && hasFields(api, choice)
        ? el("details.nested", place === 0 && depth === 0 ? { open: true } : {}, el("summary", place === 0 ? "One of: " : "or ", el("code", title)), ...prose(part?.description), inside)
        : el("p.note", place === 0 ? "One of: " : "or ", el("code", title));
    }));
  }
  if (choices.length === 1) return drawSchema(api, choices[0], depth);
  if (schema.items) return drawSchema(api, schema.items, depth);
  const properties = Object.entries(schema.properties ?? {});
  if (!properties.length) return null;
  const required = new Set(schema.required ?? []);
  return el("dl.fields", properties.flatMap(([name, field]) => {
    const target = resolve(api, field);
    const text = field.description ?? target?.description;
    const facts = [
      field.default !== undefined && field.default !== null ? `default ${JSON.stringify(field.default)}` : null,
      target?.enum ? `one of ${target.enum.map((value) => JSON.stringify(value)).join(", ")}` : null,
      target?.minimum !== undefined ? `at least ${target.minimum}` : null,
      target?.maximum !== undefined ? `at most ${target.maximum}` : null,
      target?.minItems ? `at least ${target.minItems}` : null,
      target?.maxItems ? `at most ${target.maxItems}` : null,
    ].filter(Boolean);
    return [
      el("dt", el("code", name), el("span.type", typeOf(api, field)), required.has(name) ? el("span.need", "required") : null),
      el("dd", ...prose(text), facts.length ? el("p.note", facts.join("; ")) : null,
        hasFields(api, field) ? el("details.nested", el("summary", "Fields of ", el("code", name)), drawSchema(api, field, depth + 1)) : null),
    ];
  }));
}

function hasFields(api, given, depth = 0) {
  const schema = resolve(api, given);
  if (!schema || depth > 6) return false;
  if (schema.properties && Object.keys(schema.properties).length) return true;
  if (schema.items) return hasFields(api, schema.items, depth + 1);
  return (schema.oneOf ?? schema.anyOf ?? []).some((choice) => hasFields(api, choice, depth + 1));
}

/** Paragraphs and lists of a description, with `code` in it. */
function prose(text) {
  if (!text) return [];
  return text.split(/\n\s*\n/).map((block) => {
    const lines = block.split("\n").map((line) => line.trim());
    if (lines.every((line) => /^[-*] /.test(line))) return el("ul.prose", lines.map((line) => el("li", ...inline(line.slice(2)))));
    return el("p.prose", ...inline(lines.join(" ").replace(/^#+ /, "")));
  });
}

const inline = (text) => text.split(/(`[^`]+`)/).filter(Boolean).map((part) => (part.startsWith("`") && part.length > 2 ? el("code", part.slice(1, -1)) : part));

begin();
