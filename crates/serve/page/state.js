// Keeps what was typed and chosen: in this browser, and in a link that can be sent to somebody.

const KEY = "tamis.page";
const SECRET = "tamis.key";
// Browsers give a page about five million characters; a link should stay far below what chats cut off.
const STORED = 1_000_000;

export const fresh = () => ({
  query: "",
  documents: "",
  format: "auto",
  compare: false,
  a: { model: "", exit: "", ratio: "", long_documents: "" },
  b: { model: "", exit: "", ratio: "", long_documents: "" },
  shared: { top_n: "", timeout_ms: "", window: "", overlap: "", priority: "", raw_scores: false, marks: true },
});

/** A state out of anything that was read, field by field, so that an old or foreign one does no harm. */
function merge(read) {
  const state = fresh();
  const take = (into, from) => {
    for (const name of Object.keys(into)) {
      const value = from?.[name];
      if (typeof into[name] === "object") take(into[name], value);
      else if (typeof value === typeof into[name]) into[name] = value;
      else if (typeof value === "number" && typeof into[name] === "string") into[name] = String(value);
    }
  };
  take(state, read);
  return state;
}

/** What a link carries, else what this browser remembers, else nothing. */
export async function load() {
  const hash = location.hash.slice(1);
  if (hash) {
    try {
      const linked = await unpack(hash);
      if (linked) return { state: merge(linked), linked: true };
    } catch {
      return { state: stored(), broken: true };
    }
  }
  return { state: stored() };
}

function stored() {
  try {
    return merge(JSON.parse(localStorage.getItem(KEY)));
  } catch {
    return fresh();
  }
}

export function keep(state) {
  try {
    const text = JSON.stringify(state.documents.length > STORED ? { ...state, documents: "" } : state);
    localStorage.setItem(KEY, text);
  } catch {
    // A browser without storage forgets; nothing else is lost.
  }
}

export async function link(state) {
  return `${location.href.split("#")[0]}#${await pack(state)}`;
}

async function pack(state) {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  if (typeof CompressionStream === "undefined") return `j${base64(bytes)}`;
  return `z${base64(await through(bytes, new CompressionStream("deflate-raw")))}`;
}

async function unpack(hash) {
  const bytes = Uint8Array.from(atob(hash.slice(1).replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
  const kind = hash[0];
  if (kind !== "j" && kind !== "z") return null;
  const plain = kind === "j" ? bytes : await through(bytes, new DecompressionStream("deflate-raw"));
  return JSON.parse(new TextDecoder().decode(plain));
}

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The key stays with this tab unless the person wants it kept. */
export function readKey() {
  try {
    return sessionStorage.getItem(SECRET) ?? localStorage.getItem(SECRET) ?? "";
  } catch {
    return memory;
  }
}

let memory = "";
export function writeKey(key, kept) {
  memory = key;
  try {
    sessionStorage.removeItem(SECRET);
    localStorage.removeItem(SECRET);
    if (key) (kept ? localStorage : sessionStorage).setItem(SECRET, key);
  } catch {
    // Kept in `memory` until the page is closed.
  }
}
