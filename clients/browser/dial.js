// Getting connected: WebRTC first, WebSocket when it gives nothing, and the patience for each.

import { CLOSE_CODES } from "./protocol.js";
import { NoMedia, Refused, Unreached } from "./link.js";
import { openWebRTC } from "./webrtc.js";
import { openWebSocket } from "./websocket.js";

/** @typedef {import("./link.js").Link} Link */
/** @typedef {import("./link.js").LinkEvents} LinkEvents */
/** @typedef {import("./link.js").Trouble} Trouble */
/** @typedef {"webrtc" | "websocket"} Transport */
/** @typedef {import("./protocol.js").Wish & {transport?: "auto" | Transport}} EnterOptions */
/**
 * @typedef {object} Dialling
 * @property {URL} base
 * @property {import("./protocol.js").Wish} wish
 * @property {readonly Transport[]} transports in the order to try
 * @property {HTMLVideoElement} video
 * @property {HTMLCanvasElement} canvas
 * @property {AbortSignal} signal ends everything, now or later
 * @property {LinkEvents} events
 * @property {(transport: Transport) => void} onTry
 * @property {(link: Link) => void} onLink open, but nothing seen yet
 */

const MEDIA_WAIT_MS = 3000; // WebRTC that has shown nothing by then probably never will
const FIRST_FRAME_WAIT_MS = 30_000; // a model may need that long to load
const LOOK_EVERY_MS = 20;

/**
 * Resolves when the visitor sees a picture or waits in line. Raises Unreached, Refused or NoMedia, whichever the last
 * transport gave.
 * @param {Dialling} dialling
 */
export async function dial(dialling) {
  /** @type {unknown} */
  let problem = new NoMedia("nothing to try");
  for (const transport of dialling.transports) {
    dialling.onTry(transport);
    const attempt = new Attempt(dialling, transport);
    try {
      return await attempt.settle();
    } catch (error) {
      attempt.abort.abort();
      problem = error;
      if (dialling.signal.aborted || error instanceof Unreached) break;
    }
  }
  throw problem;
}

/**
 * Which transports to try, in which order.
 * @param {EnterOptions} wish
 * @param {boolean} fellBack WebRTC gave nothing before
 * @returns {Transport[]}
 */
export function transportsFor({ transport = "auto" }, fellBack) {
  if (transport !== "auto") return [transport];
  return fellBack ? ["websocket"] : ["webrtc", "websocket"];
}

/** One try with one transport. */
class Attempt {
  /**
   * @param {Dialling} dialling
   * @param {Transport} transport
   */
  constructor(dialling, transport) {
    this.dialling = dialling;
    this.transport = transport;
    this.abort = new AbortController();
    dialling.signal.addEventListener("abort", () => this.abort.abort(), { once: true });
    this.started = performance.now();
    this.announcedAt = 0;
    this.seen = false;
    this.settled = false;
    this.queued = false;
    this.welcomed = false;
    /** @type {number | null} */
    this.lostWith = null;
    /** @type {Trouble | null} */
    this.fatal = null;
  }

  async settle() {
    const { base, wish, video, canvas } = this.dialling;
    const options = { base, wish, signal: this.abort.signal, events: this.#events() };
    const link = this.transport === "webrtc" ? await openWebRTC({ ...options, video }) : await openWebSocket({ ...options, canvas });
    if (this.abort.signal.aborted) return link.close();
    this.dialling.onLink(link);
    while (!this.seen && !this.queued) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      if (this.abort.signal.aborted) return;
      if (this.fatal) throw new Refused(this.fatal);
      if (this.lostWith !== null) throw refusalOf(this.lostWith);
      this.#checkPatience();
    }
    this.settled = true;
  }

  /**
   * A picture that was announced but not shown, or no word at all, is the transport's fault. A model that is slow to
   * draw its first picture is not: another transport would not help.
   */
  #checkPatience() {
    const now = performance.now();
    const unseen = this.announcedAt > 0 && now - this.announcedAt > MEDIA_WAIT_MS;
    const unheard = !this.welcomed && now - this.started > MEDIA_WAIT_MS;
    if (this.transport === "webrtc" && (unseen || unheard)) throw new NoMedia("WebRTC showed no picture");
    if (now - this.started > FIRST_FRAME_WAIT_MS) throw new NoMedia("The world drew no picture within 30 seconds.");
  }

  /** @returns {LinkEvents} */
  #events() {
    const { events } = this.dialling;
    const current = () => !this.abort.signal.aborted;
    return {
      onStep: (step) => current() && events.onStep(step),
      onMessage: (message) => {
        if (!current()) return;
        if (message.type === "welcome") this.welcomed = true;
        if (message.type === "welcome") this.queued = message.role === "queued";
        if (message.type === "frame") this.announcedAt ||= performance.now();
        if (message.type === "error" && message.fatal) this.fatal = message;
        events.onMessage(message);
      },
      onPicture: (transport) => {
        if (!current()) return;
        this.seen = true;
        events.onPicture(transport);
      },
      onShown: (shown) => current() && events.onShown(shown),
      onLost: (code) => {
        this.lostWith = code;
        if (current() && this.settled) events.onLost(code);
      },
    };
  }
}

/** @param {number} code */
function refusalOf(code) {
  const meaning = CLOSE_CODES[code];
  return meaning && !meaning.again ? new Refused({ ...meaning, id: "" }) : new NoMedia(`closed with ${code}`);
}

/**
 * What to tell the visitor about a problem while connecting.
 * @param {unknown} problem
 * @returns {Trouble}
 */
export function troubleOf(problem) {
  if (problem instanceof Refused) return problem.trouble;
  const slow = problem instanceof NoMedia && problem.message.startsWith("The world");
  const message = slow ? problem.message : "The server answers, but no picture came.";
  return { code: "no_media", message, remedy: "Try again. If it stays so, report the id.", id: "" };
}
