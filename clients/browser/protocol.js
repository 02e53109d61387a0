// The wire protocol, version 1: every message both ways. `realtime/protocol.py` is this file's twin and
// docs/protocol.md says what each field means. Pure: no sockets, no clock, no DOM.

/**
 * @typedef {object} WorldInfo
 * @property {number} protocol
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {number} fps
 * @property {string} engine
 * @property {number} steps
 * @property {string[]} themes
 * @property {string[]} times
 * @property {string[]} weathers
 * @property {string[]} moods
 * @property {number} max_prompt_chars
 * @property {string} version
 * @property {number} [chunk] frames drawn at once
 * @property {string[]} [controls] what a player can do: "walk", "look", "words", "picture"
 */

/** @typedef {"jpeg" | "h264"} Codec */
/** @typedef {{seed: number, prompt: string, watch?: boolean, codec?: Codec, image?: string | null, replay?: string}} Wish what a visitor asks for; `image` is an id that /api/image gave */
/** @typedef {{keys: string[], yaw: number, pitch: number, move: [number, number] | null}} Held what is held down now */

/** @typedef {{type: "hello", v: number, seed: number, prompt: string, watch: boolean, codec: Codec, image: string | null, replay: string}} Hello */
/** @typedef {{type: "input", seq: number, t: number} & Held} Input */
/** @typedef {{type: "shown", frame: number, input: number, t: number, latency_ms: number}} Shown */
/**
 * @typedef {Hello | Input | Shown
 *   | {type: "prompt", prompt: string}
 *   | {type: "reset", seed: number, prompt: string, image: string | null}
 *   | {type: "rewind", frame: number} | {type: "branch", id: number} | {type: "take_over"}
 *   | {type: "ping", t: number}
 *   | {type: "pause"} | {type: "resume"} | {type: "keyframe"} | {type: "bye"}} ClientMessage
 */

/** @typedef {"player" | "viewer" | "queued"} Role */
/** @typedef {{type: "welcome", v: number, session: string, role: Role, world: WorldInfo}} Welcome */
/** @typedef {{type: "state", state: "queued"|"live"|"paused"|"ended", place: number|null, reason: string|null}} StateMessage */
/** @typedef {{type: "world", seed: number, prompt: string, understood: string[], unknown: string[], image?: string | null, caption?: string | null, familiar?: boolean | null}} WorldMessage */
/** @typedef {{type: "frame", frame: number, input: number, rtp: number|null, media_time: number, server_ms: number}} FrameMessage */
/**
 * @typedef {object} Stats
 * @property {"stats"} type
 * @property {number} fps
 * @property {number} model_ms
 * @property {number} decode_ms
 * @property {number} encode_ms
 * @property {string} engine
 * @property {number} steps
 * @property {number} bitrate_bps
 * @property {number} viewers
 * @property {number} queue
 * @property {number} frame
 * @property {number} seed
 * @property {number} dropped
 * @property {"fine" | "straying" | "lost"} drift
 */
/** @typedef {{id: number, start: number, end: number}} Branch a way that was left: where, and where it ends */
/** @typedef {{type: "timeline", now: number, fps: number, moments: number[], branches: Branch[], replay: number|null, progress: number|null}} TimelineMessage */
/** @typedef {{type: "notice", code: string, message: string}} Notice */
/** @typedef {{type: "error", code: string, message: string, remedy: string, fatal: boolean, id: string}} ErrorMessage */
/** @typedef {Welcome | StateMessage | WorldMessage | FrameMessage | Stats | TimelineMessage | Notice | ErrorMessage | {type: "pong", t: number}} ServerMessage */

/** @typedef {{kind: number, keyframe: boolean, frame: number, input: number, serverMs: number, mediaTime: number, payload: Uint8Array}} Picture */

export const VERSION = 1;
export const MAX_SEED = 2 ** 31 - 1;
export const MAX_PROMPT_CHARS = 500;
export const MAX_IMAGE_BYTES = 24 * 2 ** 20; // of a file for /api/image
export const MAX_REPLAY_CHARS = 64;
export const KIND_JPEG = 1;
export const KIND_H264 = 2;
const HEADER_BYTES = 24;
const FLAG_KEYFRAME = 1;

/** What a close code of the WebSocket means for the visitor. `again`: worth connecting again without being asked. */
export const CLOSE_CODES = /** @type {Record<number, {code: string, message: string, remedy: string, again: boolean}>} */ ({
  1000: { code: "bye", message: "The session was closed.", remedy: "", again: false },
  1001: { code: "server_stops", message: "The server is stopping.", remedy: "", again: true },
  4400: { code: "malformed", message: "The server could not read what this page sent.", remedy: "Reload the page.", again: false },
  4401: { code: "wrong_version", message: "This page and the server speak different versions.", remedy: "Reload the page.", again: false },
  4408: { code: "hello_too_late", message: "The server waited too long for this page.", remedy: "", again: true },
  4409: { code: "turn_lost", message: "The turn went to the next in line, because this tab was hidden.", remedy: "Enter again to join the line.", again: false },
  4413: { code: "too_large", message: "This page sent a message that is too large.", remedy: "Shorten the prompt.", again: false },
  4429: { code: "too_many_sessions", message: "The server has no room for another visitor.", remedy: "Try again in a minute.", again: false },
  4500: { code: "session_failed", message: "The session failed on the server.", remedy: "Enter again. If it fails again, report the id.", again: false },
});

/**
 * @param {Wish} wish
 * @returns {Hello}
 */
export function hello(wish) {
  return {
    type: "hello",
    v: VERSION,
    seed: clampSeed(wish.seed),
    prompt: wish.prompt.slice(0, MAX_PROMPT_CHARS),
    watch: wish.watch ?? false,
    codec: wish.codec ?? "jpeg",
    image: wish.image ?? null,
    replay: (wish.replay ?? "").slice(0, MAX_REPLAY_CHARS),
  };
}

/**
 * The nearest seed that the protocol allows.
 * @param {number} seed
 */
export function clampSeed(seed) {
  return Number.isFinite(seed) ? Math.min(MAX_SEED, Math.max(0, Math.trunc(seed))) : 0;
}

/** @param {ClientMessage} message */
export function encode(message) {
  return JSON.stringify(message);
}

/**
 * The message in one text frame, or null when it is not one of ours. A newer server may say more than we know.
 * @param {unknown} text
 * @returns {ServerMessage | null}
 */
export function decode(text) {
  if (typeof text !== "string") return null;
  try {
    const data = JSON.parse(text);
    if (data === null || typeof data !== "object" || typeof data.type !== "string") return null;
    return /** @type {ServerMessage} */ (data);
  } catch {
    return null;
  }
}

/**
 * One binary WebSocket frame, or null when the header is not ours.
 * @param {ArrayBuffer} buffer
 * @returns {Picture | null}
 */
export function decodePicture(buffer) {
  if (buffer.byteLength < HEADER_BYTES) return null;
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  if (kind !== KIND_JPEG && kind !== KIND_H264) return null;
  return {
    kind,
    keyframe: (view.getUint8(1) & FLAG_KEYFRAME) !== 0,
    frame: view.getUint32(4, true),
    input: view.getUint32(8, true),
    serverMs: view.getFloat32(12, true),
    mediaTime: view.getFloat64(16, true),
    payload: new Uint8Array(buffer, HEADER_BYTES),
  };
}
