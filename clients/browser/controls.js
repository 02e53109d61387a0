// What the person holds down, from whatever they hold it with, gathered into one state and sent as such.
// A message says everything that is held and how far the view has turned since the start, so a lost one costs nothing.

import { TouchSticks } from "./touch.js";
import { readGamepad } from "./gamepad.js";

/** @typedef {import("./protocol.js").Held} Held */

const SEND_EVERY_MS = 1000 / 60;
const MOUSE_RAD_PER_PX = 0.0025;
const STICK_RAD_PER_S = 1.8; // a stick pushed all the way
const MAX_PITCH_RATE = 0.6; // of the yaw rate: looking up is done with more care

// By place on the keyboard, not by letter: W A S D is Z Q S D in France, in the same place.
const KEYS = /** @type {Record<string, string>} */ ({
  KeyW: "forward", KeyS: "back", KeyA: "left", KeyD: "right",
  ArrowLeft: "turn_left", ArrowRight: "turn_right", ArrowUp: "look_up", ArrowDown: "look_down",
}); // prettier-ignore

export class Controls {
  /**
   * @param {object} options
   * @param {HTMLElement} options.surface a click on it takes the mouse
   * @param {HTMLElement} options.sticks where thumbs go
   * @param {() => boolean} options.active whether there is a world to walk in
   * @param {(held: Held, at: number) => void} options.send
   * @param {(busy: boolean) => void} options.onBusy something is held, or no longer
   * @param {(captured: boolean) => void} options.onCapture the mouse was taken, or given back
   */
  constructor({ surface, sticks, active, send, onBusy, onCapture }) {
    this.surface = surface;
    this.active = active;
    this.send = send;
    this.onBusy = onBusy;
    this.onCapture = onCapture;
    /** @type {Set<string>} */
    this.keys = new Set();
    this.yaw = 0;
    this.pitch = 0;
    this.mouseSpeed = 1;
    this.lastSent = 0;
    this.lastTick = 0;
    this.lastPushed = "";
    this.busy = false;
    /** @type {ReturnType<typeof setTimeout> | 0} */
    this.timer = 0;
    this.touch = new TouchSticks(sticks, () => this.#tickSoon());
    this.ticking = false;
    this.#listen();
  }

  #listen() {
    addEventListener("keydown", (event) => this.#key(event, true));
    addEventListener("keyup", (event) => this.#key(event, false));
    addEventListener("blur", () => this.release());
    this.surface.addEventListener("click", (event) => {
      if (event.detail > 0 && this.active() && matchMedia("(pointer: fine)").matches) this.capture();
    });
    document.addEventListener("pointerlockchange", () => this.onCapture(this.captured));
    document.addEventListener("mousemove", (event) => this.#mouse(event));
    addEventListener("gamepadconnected", () => this.#tickSoon());
  }

  get captured() {
    return document.pointerLockElement === this.surface;
  }

  /** Take the mouse; Esc gives it back, the browser sees to that. */
  capture() {
    // Browsers refuse for about a second after Esc, and say so with a rejected promise.
    void Promise.resolve(this.surface.requestPointerLock?.()).catch(() => {});
  }

  /** Let go of everything. */
  release() {
    if (this.keys.size === 0) return;
    this.keys.clear();
    this.#sendNow(performance.now());
  }

  /** A new session counts turns from zero. */
  restart() {
    this.keys.clear();
    this.busy = false;
    this.yaw = 0;
    this.pitch = 0;
    this.#tickSoon();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {boolean} down
   */
  #key(event, down) {
    const key = KEYS[event.code];
    if (!key || event.ctrlKey || event.metaKey || event.altKey) return;
    if (down && (isTyping(event.target) || !this.active())) return;
    if (down) event.preventDefault(); // arrows would scroll
    if (event.repeat || this.keys.has(key) === down) return;
    if (down) this.keys.add(key);
    else this.keys.delete(key);
    this.#sendNow(performance.now());
  }

  /** @param {MouseEvent} event */
  #mouse(event) {
    if (!this.captured || !this.active()) return;
    this.yaw += event.movementX * MOUSE_RAD_PER_PX * this.mouseSpeed;
    this.pitch -= event.movementY * MOUSE_RAD_PER_PX * this.mouseSpeed;
    this.#sendSoon();
  }

  /** At most 60 a second; the last of a burst always goes. */
  #sendSoon() {
    const now = performance.now();
    const wait = this.lastSent + SEND_EVERY_MS - now;
    if (wait <= 0) this.#sendNow(now);
    else this.timer ||= setTimeout(() => this.#sendNow(performance.now()), wait);
  }

  /** @param {number} at */
  #sendNow(at) {
    clearTimeout(this.timer);
    this.timer = 0;
    this.lastSent = at;
    const pad = readGamepad();
    const stick = this.touch.move ?? pad?.move ?? null;
    const busy = this.keys.size > 0 || stick !== null;
    if (busy !== this.busy) this.onBusy(busy);
    this.busy = busy;
    this.send({ keys: [...this.keys], yaw: this.yaw, pitch: this.pitch, move: stick }, at);
  }

  // Sticks have no events worth having: they are read once per animation frame, while there are any.

  #tickSoon() {
    if (this.ticking) return;
    this.ticking = true;
    this.lastTick = performance.now();
    requestAnimationFrame((now) => this.#tick(now));
  }

  /** @param {number} now */
  #tick(now) {
    const pad = readGamepad();
    const seconds = Math.min(0.1, Math.max(0, now - this.lastTick) / 1000);
    this.lastTick = now;
    const look = this.touch.look ?? pad?.look ?? null;
    const push = this.touch.move ?? pad?.move ?? null;
    if (this.active()) {
      if (look) {
        this.yaw += look[0] * STICK_RAD_PER_S * seconds;
        this.pitch += look[1] * STICK_RAD_PER_S * MAX_PITCH_RATE * seconds;
      }
      const pushed = JSON.stringify(push);
      if (look || pushed !== this.lastPushed) this.#sendSoon();
      this.lastPushed = pushed;
    }
    this.ticking = pad !== null || look !== null || push !== null || this.touch.touched;
    if (this.ticking) requestAnimationFrame((next) => this.#tick(next));
    else if (this.lastPushed !== "null") {
      this.lastPushed = "null";
      this.#sendSoon();
    }
  }
}

/**
 * True where letters belong to a text box.
 * @param {EventTarget | null} target
 */
export function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
}
