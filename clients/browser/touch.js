// Two sticks for thumbs: the left one walks, the right one looks. A stick appears where its thumb lands.

import { beyondDeadZone } from "./gamepad.js";

const RADIUS_PX = 56;

/** @typedef {{zone: HTMLElement, knob: HTMLElement, pointer: number | null, x: number, y: number, value: [number, number] | null}} Stick */

export class TouchSticks {
  /**
   * @param {HTMLElement} root holds two elements with `data-stick` move and look, each with a `.knob`
   * @param {() => void} onTouch a thumb landed
   */
  constructor(root, onTouch) {
    this.onTouch = onTouch;
    this.sticks = {
      move: this.#stick(root, "move"),
      look: this.#stick(root, "look"),
    };
  }

  /** Right and forward, or null while nobody pushes. */
  get move() {
    return this.sticks.move.value;
  }

  /** Right and up, or null while nobody pushes. */
  get look() {
    return this.sticks.look.value;
  }

  get touched() {
    return this.sticks.move.pointer !== null || this.sticks.look.pointer !== null;
  }

  /**
   * @param {HTMLElement} root
   * @param {string} name
   * @returns {Stick}
   */
  #stick(root, name) {
    const zone = /** @type {HTMLElement} */ (root.querySelector(`[data-stick="${name}"]`));
    const knob = /** @type {HTMLElement} */ (zone.querySelector(".knob"));
    /** @type {Stick} */
    const stick = { zone, knob, pointer: null, x: 0, y: 0, value: null };
    zone.addEventListener("pointerdown", (event) => this.#land(stick, event));
    zone.addEventListener("pointermove", (event) => this.#push(stick, event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      zone.addEventListener(end, (event) => this.#lift(stick, /** @type {PointerEvent} */ (event)));
    }
    return stick;
  }

  /** @param {Stick} stick @param {PointerEvent} event */
  #land(stick, event) {
    if (stick.pointer !== null) return;
    event.preventDefault();
    const box = stick.zone.getBoundingClientRect();
    stick.pointer = event.pointerId;
    [stick.x, stick.y] = [event.clientX, event.clientY];
    stick.zone.setPointerCapture(event.pointerId);
    stick.zone.style.setProperty("--base-x", `${event.clientX - box.left}px`);
    stick.zone.style.setProperty("--base-y", `${event.clientY - box.top}px`);
    stick.zone.classList.add("held");
    this.onTouch();
  }

  /** @param {Stick} stick @param {PointerEvent} event */
  #push(stick, event) {
    if (event.pointerId !== stick.pointer) return;
    const [dx, dy] = [event.clientX - stick.x, event.clientY - stick.y];
    const limit = Math.min(1, RADIUS_PX / Math.max(1, Math.hypot(dx, dy)));
    stick.value = beyondDeadZone((dx * limit) / RADIUS_PX, (-dy * limit) / RADIUS_PX);
    stick.knob.style.transform = `translate(${dx * limit}px, ${dy * limit}px)`;
  }

  /** @param {Stick} stick @param {PointerEvent} event */
  #lift(stick, event) {
    if (event.pointerId !== stick.pointer) return;
    stick.pointer = null;
    stick.value = null;
    stick.knob.style.transform = "";
    stick.zone.classList.remove("held");
    for (const name of ["--base-x", "--base-y"]) stick.zone.style.removeProperty(name);
  }
}
