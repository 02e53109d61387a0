// The server's tasks: order, watch, list, remove; and getting files to it.

import { Refused, Unreached, troubleIn } from "../link.js";

/**
 * @typedef {object} Task
 * @property {string} id
 * @property {string} kind
 * @property {Record<string, any>} params
 * @property {"PENDING"|"THROTTLED"|"RUNNING"|"SUCCEEDED"|"FAILED"|"CANCELLED"} state
 * @property {number} progress
 * @property {string[]} outputs
 * @property {string} failure
 * @property {string} failure_code
 * @property {Record<string, any>} facts
 * @property {string} model
 * @property {number} [credits]
 * @property {number} created_s
 * @property {number | null} [left_s]
 * @property {string} [preview]
 */
/** @typedef {{intact: boolean, trusted: boolean, signer: string, model: string} | null} Origin */

const SMALL_BYTES = 3 * 2 ** 20; // as a data: URI; larger files are uploaded first
const KEY = "api-key";
const BASE = new URL("./", document.baseURI);

/** The key that a server with keys asks for. */
export function storedKey() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // storage may be forbidden
  }
}

/** @param {string} key */
export function storeKey(key) {
  try {
    if (key) localStorage.setItem(KEY, key);
    else localStorage.removeItem(KEY);
  } catch {
    // then it is asked for again
  }
}

/** @param {Record<string, string>} [more] */
const headers = (more = {}) => ({ ...(storedKey() ? { authorization: `Bearer ${storedKey()}` } : {}), ...more });

/**
 * Raises Refused or Unreached.
 * @param {string} path
 * @param {RequestInit} [init]
 */
async function ask(path, init = {}) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(new URL(path, BASE), { cache: "no-store", ...init, headers: headers(/** @type {Record<string, string>} */ (init.headers)) });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreached("the server is not reached");
  }
  if (!response.ok) throw new Refused(await troubleIn(response));
  return response;
}

/** @param {{kind: string, params: Record<string, unknown>, inputs: Record<string, string>}} order @returns {Promise<Task>} */
export async function create(order) {
  const response = await ask("api/tasks", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order) });
  return await response.json();
}

/** @param {string} search @param {string | null} [before] @returns {Promise<{tasks: Task[], next: string | null}>} */
export async function list(search, before = null) {
  const query = new URLSearchParams({ limit: "24", ...(search ? { search } : {}), ...(before ? { before } : {}) });
  return await (await ask(`api/tasks?${query}`)).json();
}

/** @param {string} id @returns {Promise<Task>} */
export async function one(id) {
  return await (await ask(`api/tasks/${encodeURIComponent(id)}`)).json();
}

/** Cancel a task that goes on, delete one that ended. @param {string} id */
export async function remove(id) {
  await ask(`api/tasks/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** What a task's file says of where it comes from. @param {string} id @param {number} index @returns {Promise<Origin>} */
export async function origin(id, index) {
  return await (await ask(`api/tasks/${encodeURIComponent(id)}/outputs/${index}/provenance`)).json();
}

/** @returns {Promise<{voices: string[], formats: string[]}>} */
export async function offers() {
  return await (await ask("api/offers")).json();
}

/**
 * As it is now, then every change until the end. Comes back by itself where the connection breaks.
 * @param {string} id
 * @param {AbortSignal} signal
 * @param {(event: Task) => void} onEvent
 */
export async function watch(id, signal, onEvent) {
  let ended = false;
  for (let wait = 500; !ended && !signal.aborted; wait = Math.min(8000, wait * 2)) {
    try {
      const response = await ask(`api/tasks/${encodeURIComponent(id)}/events`, { signal });
      const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += value;
        const parts = text.split("\n\n");
        text = parts.pop() ?? "";
        for (const part of parts) {
          if (!part.startsWith("data: ")) continue;
          const event = /** @type {Task} */ (JSON.parse(part.slice(6)));
          ended = ["SUCCEEDED", "FAILED", "CANCELLED"].includes(event.state);
          wait = 500;
          onEvent(event);
        }
      }
    } catch (problem) {
      if (signal.aborted || problem instanceof Refused) return;
    }
    if (!ended) await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/**
 * A media string for a file: inline where it is small, an upload otherwise.
 * @param {Blob} file
 * @param {string} name
 */
export async function send(file, name) {
  if (file.size <= SMALL_BYTES) return await asDataUri(file);
  const begun = await ask("v1/uploads", {
    method: "POST",
    headers: { authorization: `Bearer ${storedKey() || "studio"}`, "x-runway-version": "2024-11-06", "content-type": "application/json" },
    body: JSON.stringify({ filename: name.length >= 3 ? name.slice(-120) : `file-${name}`, type: "ephemeral" }),
  });
  const { uploadUrl, fields, runwayUri } = await begun.json();
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) form.append(key, String(value));
  form.append("file", file, name);
  const place = new URL(uploadUrl); // its host is how others reach the server; this page reached it already
  await ask(`.${place.pathname}${place.search}`, { method: "POST", body: form });
  return /** @type {string} */ (runwayUri);
}

/** @param {Blob} file @returns {Promise<string>} */
function asDataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Unreached("the file could not be read"));
    reader.readAsDataURL(file);
  });
}

/** A task's output as a file that can go in again. @param {string} url */
export async function fetched(url) {
  const place = new URL(url);
  const response = await ask(`.${place.pathname}${place.search}`);
  return new File([await response.blob()], place.pathname.split("/").pop() ?? "output");
}

/** An output's address by the host that this page came from. @param {string} url */
export function near(url) {
  const place = new URL(url);
  return new URL(`.${place.pathname}${place.search}`, BASE).href;
}
