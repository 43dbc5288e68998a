// Turns settings into a request, sends it, and turns what comes back into an answer or a fault in plain words.

/** Where a route is, also behind a proxy that serves this page under a prefix. */
export const address = (route) => new URL(route, document.baseURI).href;

/** What went wrong, for a person: `title`, `text` (the server's own words), `advice`, and what the page can do about it. */
export class Fault extends Error {
  constructor(parts) {
    super(parts.title);
    Object.assign(this, parts);
  }
}

const NUMBERS = ["top_n", "window", "overlap", "priority", "timeout_ms"];

/** The body of `POST /v1/rerank`; what is not chosen is left out. */
export function bodyOf(state, side, documents) {
  const setting = state[side];
  const body = {};
  if (setting.model) body.model = setting.model;
  body.query = state.query;
  body.documents = documents;
  if (setting.exit) body.exit = Number(setting.exit);
  if (setting.ratio) body.ratio = Number(setting.ratio);
  if (setting.long_documents) body.long_documents = setting.long_documents;
  for (const name of NUMBERS) {
    // Windows are of documents that are read in pieces; the server refuses them alone.
    if (!setting.long_documents && (name === "window" || name === "overlap")) continue;
    const value = state.shared[name];
    if (value !== "" && value !== undefined && value !== null && Number.isFinite(Number(value))) body[name] = Number(value);
  }
  if (state.shared.raw_scores) body.raw_scores = true;
  return body;
}

export async function getJson(route, key) {
  return (await ask(route, { method: "GET" }, key)).json;
}

/** `{answer, requestId, millis}`; throws a Fault, or an AbortError. */
export async function rerank(body, key, signal) {
  const start = performance.now();
  const { json, headers } = await ask("v1/rerank", {
    method: "POST",
    body: JSON.stringify(body),
    signal,
  }, key);
  const millis = performance.now() - start;
  if (!json || !Array.isArray(json.results)) {
    throw new Fault({ title: "An answer of another kind", text: "The server's answer has no “results”.", advice: "Is this page served by Tamis, or by a proxy in front of something else?" });
  }
  return { answer: json, requestId: headers.get("x-request-id"), millis };
}

async function ask(route, options, key) {
  const headers = { accept: "application/json" };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(address(route), {
      ...options,
      headers,
      // With a key of our own the browser must not add one, nor ask for one with its own box.
      credentials: key ? "omit" : "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault({
      title: "The server cannot be reached",
      text: "No answer came back.",
      advice: "Is it still running, and is this machine connected to it?",
      again: true,
    });
  }
  const raw = await response.text();
  let json = null;
  try {
    json = raw ? JSON.parse(raw) : null;
  } catch {
    // Told below: an error of a proxy is often a page.
  }
  if (!response.ok) throw explain(response, json, raw);
  return { json, headers: response.headers };
}

function explain(response, json, raw) {
  const { status } = response;
  const words = json?.message ?? json?.error?.message ?? json?.error ?? json?.detail;
  const text = typeof words === "string" ? words : raw.startsWith("<") ? `${status} ${response.statusText}` : raw.slice(0, 300);
  const wait = Number(response.headers.get("retry-after"));
  const fault = { status, text, requestId: response.headers.get("x-request-id"), ...MEANING[status] };
  if (!fault.title) Object.assign(fault, status >= 500 ? UNKNOWN_SERVER : UNKNOWN_CLIENT);
  if (fault.again && wait > 0) fault.wait = wait;
  return new Fault(fault);
}

const UNKNOWN_SERVER = { title: "Something broke in the server", advice: "Its log says more, under the number of this request.", again: true };
const UNKNOWN_CLIENT = { title: "The server refused this request", advice: "" };
const MEANING = {
  400: { title: "The server could not use this request", advice: "Is there at least one document?" },
  401: { title: "A key is needed", advice: "Enter an API key and the request is sent again.", needsKey: true },
  403: { title: "This key may not do that", advice: "Ask whoever runs the server for another one.", needsKey: true },
  404: { title: "The server does not have that", advice: "Choose another model; the list may have changed since this page was opened.", reload: true },
  408: { title: "The request did not arrive in time", advice: "The connection may be slow: send fewer documents at a time.", again: true },
  413: { title: "Too large", advice: "Send fewer documents at a time, or shorter ones." },
  415: { title: "The server does not read this kind of body", advice: "Is a proxy changing the request on its way?" },
  422: { title: "Something in the request does not fit", advice: "" },
  424: { title: "The model gave no usable score", advice: "One of the scores was not a number. Another precision or another model may help; whoever runs the server should know.", again: true },
  429: { title: "The server is busy", advice: "More work is waiting than it accepts. Try again in a moment.", again: true },
  502: { title: "The server is away", advice: "Something in front of it answers, it does not.", again: true },
  503: { title: "The server takes no work now", advice: "It is starting, or stopping. Try again in a moment.", again: true },
  504: { title: "The deadline passed", advice: "Send fewer documents, choose an earlier exit, or allow more time under “More options”.", again: true },
};
