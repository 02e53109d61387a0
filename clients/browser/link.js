// What the two transports have in common: the shape of an open connection, and the ways it can fail.

/** @typedef {import("./protocol.js").ClientMessage} ClientMessage */
/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */

/**
 * One picture on the screen.
 * @typedef {object} ShownFrame
 * @property {number} frame
 * @property {number} input newest input that it answers; 0 = none
 * @property {number} serverMs
 * @property {number} at when it was shown, in `performance.now()` milliseconds
 */

/** @typedef {{bitrateBps: number, lossPercent: number | null}} Traffic */

/**
 * What a transport tells the session.
 * @typedef {object} LinkEvents
 * @property {(step: "server" | "media") => void} onStep this step is done
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(transport: "webrtc" | "websocket") => void} onPicture a picture is there, even one that nothing described
 * @property {(shown: ShownFrame) => void} onShown a picture that we know all about is on the screen
 * @property {(code: number) => void} onLost the connection is gone; 1006 = without a word
 */

/**
 * One open connection, whichever way the pictures travel.
 * @typedef {object} Link
 * @property {"webrtc" | "websocket"} transport
 * @property {(message: ClientMessage) => void} send
 * @property {() => Promise<Traffic>} traffic
 * @property {() => void} close
 */

/** What the server says in the body of an HTTP error. @typedef {{code: string, message: string, remedy: string, id: string}} Trouble */

/** The server was not reached at all. */
export class Unreached extends Error {}

/** The server answered and said no. */
export class Refused extends Error {
  /** @param {Trouble} trouble */
  constructor(trouble) {
    super(trouble.message);
    this.trouble = trouble;
  }
}

/** This transport does not work here; another one may. */
export class NoMedia extends Error {}

/**
 * True when the server answers at all.
 * @param {URL} base
 * @param {number} timeoutMs
 */
export async function answers(base, timeoutMs = 2000) {
  try {
    const response = await fetch(new URL("healthz", base), { signal: AbortSignal.timeout(timeoutMs), cache: "no-store" });
    return response.ok;
  } catch {
    return false;
  }
}

/**
 * What an HTTP error says, whoever wrote it (the server, or a proxy in front of it).
 * @param {Response} response
 * @returns {Promise<Trouble>}
 */
export async function troubleIn(response) {
  const standing = { code: `http_${response.status}`, message: `The server answered ${response.status}.`, remedy: "", id: "" };
  try {
    const { error } = await response.json();
    return { ...standing, ...error };
  } catch {
    return standing;
  }
}
