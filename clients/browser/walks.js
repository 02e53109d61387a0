// Kept walks over HTTP: share the one that goes on, bring a file along.

import { troubleIn } from "./link.js";

const MAX_LOG_BYTES = 33 * 2 ** 20; // as in realtime/sharing.py

/** @typedef {{id: string, seed: number, prompt: string, frames: number, notes: string[]}} Brought */

/**
 * Freeze the walk of this session; what happens later does not change it. Resolves with its id, or null where the server
 * does not keep it.
 * @param {URL} base
 * @param {string} session
 * @returns {Promise<{id: string, days: number} | null>}
 */
export async function shareWalk(base, session) {
  try {
    const response = await fetch(new URL(`api/sessions/${encodeURIComponent(session)}/share`, base), { method: "POST" });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/**
 * Hand a log to the server. Raises Error with words for the person.
 * @param {URL} base
 * @param {File} file
 * @returns {Promise<Brought>}
 */
export async function bringWalk(base, file) {
  if (file.size > MAX_LOG_BYTES) throw new Error(`${file.name} is too large for the log of a walk. Choose the file that this page let you keep.`);
  const response = await fetch(new URL("api/sessions", base), { method: "POST", body: file }).catch(() => null);
  if (response === null) throw new Error("The server is not reached, so the walk cannot be opened.");
  if (response.ok) return response.json();
  const { message, remedy } = await troubleIn(response);
  throw new Error(`${message} ${remedy}`.trim());
}
