// What the address bar says: seed, prompt and settings, so that every view can be shared.

import { MAX_PROMPT_CHARS, MAX_REPLAY_CHARS, MAX_SEED, clampSeed } from "./protocol.js";

/**
 * @typedef {object} Address
 * @property {string} prompt
 * @property {number | null} seed
 * @property {"auto" | "webrtc" | "websocket"} transport
 * @property {"jpeg" | "h264"} codec of the WebSocket
 * @property {"smooth" | "sharp"} look how the picture is enlarged
 * @property {boolean} measure the figures are shown
 * @property {boolean} watch only watch, never take a turn
 * @property {string} replay id of a kept walk that is drawn again
 */

/**
 * @param {string} search as `location.search`
 * @returns {Address}
 */
export function readAddress(search) {
  const said = new URLSearchParams(search);
  const seed = said.get("seed");
  return {
    prompt: (said.get("prompt") ?? "").slice(0, MAX_PROMPT_CHARS),
    seed: seed !== null && /^\d+$/.test(seed) ? clampSeed(Number(seed)) : null,
    transport: oneOf(said.get("transport"), /** @type {const} */ (["auto", "webrtc", "websocket"])),
    codec: oneOf(said.get("codec"), /** @type {const} */ (["jpeg", "h264"])),
    look: oneOf(said.get("look"), /** @type {const} */ (["smooth", "sharp"])),
    measure: said.get("measure") === "1",
    watch: said.get("watch") === "1",
    replay: (said.get("replay") ?? "").slice(0, MAX_REPLAY_CHARS),
  };
}

/**
 * The same view as a search string; what is as usual is left out.
 * @param {Partial<Address>} address
 */
export function writeAddress(address) {
  const said = new URLSearchParams();
  if (address.prompt) said.set("prompt", address.prompt);
  if (address.seed !== null && address.seed !== undefined) said.set("seed", String(address.seed));
  if (address.transport && address.transport !== "auto") said.set("transport", address.transport);
  if (address.codec && address.codec !== "jpeg") said.set("codec", address.codec);
  if (address.look && address.look !== "smooth") said.set("look", address.look);
  if (address.measure) said.set("measure", "1");
  if (address.watch) said.set("watch", "1");
  if (address.replay) said.set("replay", address.replay);
  const text = said.toString();
  return text && `?${text}`;
}

/** @returns {number} */
export function rollSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000 % (MAX_SEED + 1);
}

/**
 * @template {string} T
 * @param {string | null} value
 * @param {readonly T[]} allowed the first is the usual one
 * @returns {T}
 */
function oneOf(value, allowed) {
  return allowed.find((candidate) => candidate === value) ?? allowed[0];
}
