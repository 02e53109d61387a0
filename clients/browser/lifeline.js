// Noticing that the server is gone, and that it is back.

import { answers } from "./link.js";

const LOOK_EVERY_MS = 500;
const SILENCE_MS = 2500; // `stats` comes once a second; two missing is worth a look
const DEAF_MS = 10_000; // the server answers others, but this connection has died
const RETRY_MS = [300, 1000, 2000, 3000]; // after these the page says offline, and goes on trying
const OFFLINE_RETRY_MS = 3000;

/** Calls `onSilent` when a connection that should speak has gone quiet. */
export class Lifeline {
  /**
   * @param {URL} base
   * @param {() => object | null} connection the one to listen to now, or null when silence is fine
   * @param {() => void} onSilent
   */
  constructor(base, connection, onSilent) {
    this.base = base;
    this.connection = connection;
    this.onSilent = onSilent;
    this.lastHeard = 0;
    setInterval(() => void this.#look(), LOOK_EVERY_MS);
  }

  /** Something came from the server. */
  heard() {
    this.lastHeard = performance.now();
  }

  async #look() {
    const connection = this.connection();
    const silentMs = performance.now() - this.lastHeard;
    if (connection === null || silentMs < SILENCE_MS) return;
    const reached = await answers(this.base, 1500);
    const still = connection === this.connection() && performance.now() - this.lastHeard >= SILENCE_MS;
    if (still && (!reached || silentMs > DEAF_MS)) this.onSilent();
  }
}

/**
 * Resolves with true when the server answers again, with false when nobody waits any more.
 * @param {URL} base
 * @param {() => boolean} wanted
 * @param {(attempt: number, offline: boolean) => void} onAttempt
 */
export async function serverIsBack(base, wanted, onAttempt) {
  for (let attempt = 1; wanted(); attempt++) {
    const offline = attempt > RETRY_MS.length;
    onAttempt(attempt, offline);
    await new Promise((resolve) => setTimeout(resolve, offline ? OFFLINE_RETRY_MS : RETRY_MS[attempt - 1]));
    if (wanted() && (await answers(base))) return wanted();
  }
  return false;
}
