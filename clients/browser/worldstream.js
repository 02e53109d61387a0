// The embeddable client: one object that connects, falls back, reconnects and tells what happens.
//
//     import { WorldStream } from "./worldstream.js";
//     const world = new WorldStream(document.querySelector("#picture"));
//     world.addEventListener("state", (event) => console.log(event.detail.name));
//     world.enter({ seed: 7, prompt: "misty forest at dawn" });
//     world.hold({ keys: ["forward"], yaw: 0, pitch: 0, move: null });
//
// Events, each a CustomEvent: state (StreamState), world, stats, timeline, notice, frame (ShownFrame).

import { CLOSE_CODES } from "./protocol.js";
import { dial, transportsFor, troubleOf } from "./dial.js";
import { Unreached, answers } from "./link.js";
import { Lifeline, serverIsBack } from "./lifeline.js";
import { PhotonMeter } from "./photon.js";
import { Picture } from "./picture.js";
import { IDLE } from "./states.js";

/** @typedef {import("./link.js").Link} Link */
/** @typedef {import("./link.js").Trouble} Trouble */
/** @typedef {import("./dial.js").Transport} Transport */
/** @typedef {import("./states.js").StreamState} StreamState */
/** @typedef {import("./dial.js").EnterOptions} EnterOptions */

const SHOWN_EVERY_MS = 100;
const ENDINGS = ["bye", "turn_lost", "ended"]; // codes that close a session without anything being wrong
const PASSING = ["server_stopping"]; // codes after which the server will be back

export class WorldStream extends EventTarget {
  /**
   * @param {HTMLElement} container gets a video and a canvas; `data-shown` says which of them to show
   * @param {{server?: string | URL}} [options]
   */
  constructor(container, { server = "./" } = {}) {
    super();
    this.base = new URL(server, document.baseURI);
    this.picture = new Picture(container);
    this.photon = new PhotonMeter();
    this.lifeline = new Lifeline(this.base, () => (this.#listens() ? this.link : null), () => this.#lost(1006));
    /** @type {StreamState} */
    this.state = IDLE;
    /** @type {EnterOptions} */
    this.wish = { seed: 0, prompt: "" };
    /** @type {import("./protocol.js").Welcome | null} */
    this.welcome = null;
    /** @type {import("./protocol.js").WorldMessage | null} */
    this.world = null;
    /** @type {import("./protocol.js").Stats | null} */
    this.stats = null;
    /** @type {import("./protocol.js").TimelineMessage | null} */
    this.timeline = null;
    /** @type {Link | null} */
    this.link = null;
    /** @type {Trouble | null} */
    this.fatal = null;
    this.seq = 0;
    this.hidden = false;
    this.fromLog = false; // the walk began as a kept one, perhaps from a picture that only its log holds
    this.everShown = false;
    /** @type {Record<string, number>} moments of the newest entry, `performance.now()` */
    this.marks = {};
    this.run = 0; // each entry has a number; what an older one still has to say is ignored
    this.lastReport = 0;
    this.abort = new AbortController();
  }

  /** Begin. Safe to call in any state. @param {EnterOptions} wish */
  enter(wish) {
    this.#drop();
    this.wish = { ...wish };
    this.everShown = false;
    this.marks = { enter: performance.now() };
    this.picture.show(null);
    this.#set({ name: "connecting", step: "server", fellBack: false, place: null, watching: false, attempt: 0, trouble: null });
    void this.#connect(this.run);
  }

  /** Leave for good. @param {string} [reason] */
  leave(reason = "You left this world.") {
    if (["idle", "ended", "failed"].includes(this.state.name)) return;
    this.#end({ code: "bye", message: reason, remedy: "", id: this.session });
  }

  /** Back to before anything was entered. */
  forget() {
    this.#drop();
    this.picture.show(null);
    this.#set({ name: "idle", trouble: null });
  }

  /**
   * Send what is held now. Returns the number of this input, or 0 when nobody listens.
   * @param {import("./protocol.js").Held} held
   * @param {number} [at] when the person acted
   */
  hold(held, at = performance.now()) {
    if (this.state.name !== "live" || this.state.watching || !this.link) return 0;
    const seq = ++this.seq;
    this.photon.sent(seq, at);
    this.link.send({ type: "input", seq, ...held, t: at });
    return seq;
  }

  /** Change the words while walking. @param {string} prompt */
  prompt(prompt) {
    this.wish = { ...this.wish, prompt };
    this.link?.send({ type: "prompt", prompt });
  }

  /**
   * A new world on the same connection.
   * @param {number} seed
   * @param {string} prompt empty, with an image: the image's caption
   * @param {string | null} [image] the id that `upload` gave
   */
  reset(seed, prompt, image = null) {
    this.wish = { ...this.wish, seed, prompt, image };
    this.fromLog = false;
    this.link?.send({ type: "reset", seed, prompt, image });
  }

  /** Back to the start of this world; what began as a kept walk goes back to where that began. */
  restart() {
    if (this.fromLog) this.rewind(0);
    else this.reset(this.wish.seed, this.wish.prompt, this.wish.image);
  }

  /**
   * Send a picture that a world may start from: `enter({seed, prompt: "", image: (await world.upload(file)).image})`.
   * Raises Refused, whose `trouble` says what is wrong and what to do, or Unreached.
   * @param {Blob} file PNG, JPEG or WebP
   * @param {AbortSignal} [signal]
   */
  async upload(file, signal) {
    const { sendImage } = await import("./upload.js");
    return sendImage(this.base, file, signal);
  }

  /** Back to the world as it was after so many frames of the walk. @param {number} frame */
  rewind(frame) {
    this.link?.send({ type: "rewind", frame: Math.max(0, Math.round(frame)) });
  }

  /** Return to a way that was left. @param {number} id one of `timeline.branches` */
  branch(id) {
    this.link?.send({ type: "branch", id });
  }

  /** Walk on from where the replay is. */
  takeOver() {
    this.link?.send({ type: "take_over" });
  }

  /** Tell whether anybody looks. @param {boolean} hidden */
  setHidden(hidden) {
    this.hidden = hidden;
    const { name, watching } = this.state;
    // Also while waiting or watching: nobody is given a turn, or drawn for, behind a hidden tab.
    if (["live", "queued", "paused"].includes(name)) this.link?.send({ type: hidden ? "pause" : "resume" });
    if (!hidden) this.lifeline.heard();
    if (hidden && name === "live" && !watching) this.#set({ name: "paused" });
    else if (!hidden && name === "paused" && !watching) this.#set({ name: "live" });
  }

  /** The id that the server's log knows this session by. */
  get session() {
    return this.welcome?.session ?? "";
  }

  // -- connecting ------------------------------------------------------------------------------------------------

  /** @param {number} run */
  async #connect(run) {
    this.abort.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    Object.assign(this, { welcome: null, timeline: null, fatal: null, seq: 0, fromLog: false });
    this.photon.restart();
    const transports = transportsFor(this.wish, this.state.fellBack);
    const { base, wish } = this;
    const { video, canvas } = this.picture;
    const onLink = (/** @type {Link} */ link) => (this.link = link);
    const onTry = (/** @type {Transport} */ transport) => {
      const fellBack = this.state.fellBack || transport !== transports[0];
      this.#set({ transport, fellBack, step: "server" });
    };
    try {
      await dial({ base, wish, transports, video, canvas, signal, events: this.#events(), onTry, onLink });
    } catch (problem) {
      if (signal.aborted) return;
      this.#hangUp();
      const reached = !(problem instanceof Unreached) || (await answers(base));
      if (run !== this.run) return;
      if (reached) this.#fail(troubleOf(problem));
      else void this.#waitForServer(run);
    }
  }

  /** @returns {import("./link.js").LinkEvents} */
  #events() {
    return {
      onStep: (done) => this.#step(done === "server" ? "media" : "frame"),
      onMessage: (message) => this.#receive(message),
      onPicture: (transport) => this.#showPicture(transport),
      onShown: (shown) => this.#measure(shown),
      onLost: (code) => this.#lost(code),
    };
  }

  /** @param {"media" | "frame"} step */
  #step(step) {
    if (this.state.step === "frame") return;
    this.marks[step] = performance.now();
    this.#set({ step });
  }

  /** @param {Transport} transport */
  #showPicture(transport) {
    this.lifeline.heard();
    this.picture.show(transport === "webrtc" ? "video" : "canvas");
    if (!this.everShown) this.marks["firstFrame"] = performance.now();
    this.everShown = true;
    if (this.state.name === "connecting" || this.state.name === "reconnecting") this.#goLive();
  }

  /** @param {import("./link.js").ShownFrame} shown */
  #measure(shown) {
    const latency = this.photon.shown(shown);
    if (latency !== null && shown.at - this.lastReport >= SHOWN_EVERY_MS) {
      this.lastReport = shown.at;
      this.link?.send({ type: "shown", frame: shown.frame, input: shown.input, t: shown.at, latency_ms: Math.max(0, latency) });
    }
    this.#emit("frame", shown);
  }

  #goLive() {
    this.#set({ name: "live", attempt: 0, place: null, watching: this.welcome?.role === "viewer" });
    if (this.hidden) this.setHidden(true);
  }

  // -- messages --------------------------------------------------------------------------------------------------

  /** @param {import("./protocol.js").ServerMessage} message */
  #receive(message) {
    this.lifeline.heard();
    if (message.type === "welcome") {
      this.welcome = message;
      if (message.role === "queued") this.#set({ name: "queued" });
      if (message.role === "queued" && this.hidden) this.setHidden(true);
    } else if (message.type === "state") {
      this.#follow(message);
    } else if (message.type === "world" || message.type === "stats" || message.type === "timeline" || message.type === "notice") {
      if (message.type === "world") this.#enterWorld(message);
      if (message.type === "stats") this.stats = message;
      if (message.type === "timeline") this.#placeInTime(message);
      this.#emit(message.type, message);
    } else if (message.type === "error") {
      if (message.fatal) this.fatal = message;
      else this.#emit("notice", message);
    }
  }

  /** @param {import("./protocol.js").WorldMessage} world */
  #enterWorld(world) {
    this.world = world;
    if (this.timeline) this.#wishWhatIs(); // only the player has one
  }

  /** @param {import("./protocol.js").TimelineMessage} timeline */
  #placeInTime(timeline) {
    const first = this.timeline === null;
    this.timeline = timeline;
    if (first) this.#wishWhatIs();
    if (timeline.replay !== null) this.fromLog = true;
    if (timeline.replay === null) this.wish = { ...this.wish, replay: "" }; // theirs from here on
  }

  /** A replay or a branch may be of other words than were asked for: a reset or a new connection means these. */
  #wishWhatIs() {
    if (this.world) this.wish = { ...this.wish, seed: this.world.seed, prompt: this.world.prompt };
  }

  /** @param {import("./protocol.js").StateMessage} message */
  #follow({ state, place, reason }) {
    const { name } = this.state;
    if (state === "queued") this.#set({ name: "queued", place });
    else if (state === "ended") this.#end({ code: "ended", message: reason ?? "The session ended.", remedy: "", id: this.session });
    else if (state === "paused" && name === "live") this.#set({ name: "paused" });
    else if (state === "live" && name === "paused" && !this.hidden) this.#set({ name: "live" });
    else if (state === "live" && name === "queued") {
      this.marks["turn"] = performance.now();
      if (this.everShown) this.#goLive();
      else this.#set({ name: "connecting", step: "frame", place: null });
    }
  }

  // -- losing ----------------------------------------------------------------------------------------------------

  #listens() {
    return ["live", "queued"].includes(this.state.name) && !this.hidden;
  }

  /** @param {number} code */
  #lost(code) {
    const meaning = CLOSE_CODES[code];
    const known = this.fatal ?? (meaning && !meaning.again ? { ...meaning, id: this.session } : null);
    if (known && ENDINGS.includes(known.code)) return this.#end(known);
    if (known && !PASSING.includes(known.code)) return this.#fail(known);
    this.picture.freeze();
    this.#drop();
    this.#set({ name: "reconnecting", attempt: 0 });
    void this.#waitForServer(this.run);
  }

  /** @param {number} run */
  async #waitForServer(run) {
    const was = this.state.name;
    const back = await serverIsBack(this.base, () => run === this.run, (attempt, patient) => {
      const offline = patient || was !== "reconnecting"; // somebody who has seen nothing yet need not be soothed
      this.#set({ name: offline ? "offline" : "reconnecting", attempt });
    });
    if (!back) return;
    this.#set({ name: this.everShown ? "reconnecting" : "connecting", step: "server" });
    void this.#connect(run);
  }

  #hangUp() {
    this.link?.close();
    this.link = null;
    this.abort.abort();
  }

  #drop() {
    this.run++;
    this.#hangUp();
  }

  /** @param {Trouble} trouble */
  #end(trouble) {
    this.picture.freeze();
    this.#drop();
    this.#set({ name: "ended", trouble });
  }

  /** @param {Trouble} trouble */
  #fail(trouble) {
    const id = trouble.id || this.session || `${trouble.code}-${new Date().toISOString().slice(0, 19)}Z`;
    this.picture.freeze();
    this.#drop();
    this.#set({ name: "failed", trouble: { ...trouble, id } });
  }

  /** @param {Partial<StreamState>} change */
  #set(change) {
    const since = change.name && change.name !== this.state.name ? performance.now() : this.state.since;
    this.state = { ...this.state, since, ...change };
    this.#emit("state", this.state);
  }

  /** @param {string} name @param {unknown} detail */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
