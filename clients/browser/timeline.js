// The moments of a walk: go back five seconds, choose any moment, return to ways that were left, take over a replay.

import { element } from "./states.js";

/** @typedef {import("./protocol.js").TimelineMessage} TimelineMessage */

const BACK_S = 5;

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

export class TimelineStrip {
  /**
   * @param {object} options
   * @param {(frame: number) => void} options.onRewind
   * @param {(branch: number, words: string) => void} options.onBranch
   * @param {() => void} options.onTakeOver
   */
  constructor({ onRewind, onBranch, onTakeOver }) {
    this.onRewind = onRewind;
    this.onBranch = onBranch;
    this.root = byId("timeline");
    this.slider = /** @type {HTMLInputElement} */ (byId("moment"));
    this.button = /** @type {HTMLButtonElement} */ (document.querySelector("[data-do=rewind]"));
    /** @type {TimelineMessage | null} */
    this.timeline = null;
    this.drawn = "";
    this.heardAt = 0;
    this.choosing = false; // the slider is being dragged: what the server says must not move it
    this.slider.addEventListener("input", () => {
      this.choosing = true;
      this.#tellMoment(Number(this.slider.value));
    });
    this.slider.addEventListener("change", () => {
      this.choosing = false;
      this.onRewind(Number(this.slider.value));
    });
    byId("back").addEventListener("click", () => this.back());
    byId("moments-close").addEventListener("click", () => this.toggle(false));
    byId("take-over").addEventListener("click", () => onTakeOver());
  }

  /** The moment that is on the screen now, as far as this page can tell. */
  get now() {
    if (!this.timeline) return 0;
    const drawnSince = ((performance.now() - this.heardAt) / 1000) * this.timeline.fps;
    return this.timeline.now + (this.timeline.progress === null ? Math.min(drawnSince, this.timeline.fps) : 0);
  }

  /** Five seconds back, or to the beginning. Returns the seconds that it goes back, 0 where there is nowhere to go. */
  back() {
    if (!this.timeline || this.timeline.now === 0) return 0;
    const target = Math.max(0, Math.min(this.timeline.now, Math.round(this.now - BACK_S * this.timeline.fps)));
    this.onRewind(target);
    return Math.max(1, Math.round((this.now - target) / this.timeline.fps));
  }

  /** @param {TimelineMessage} timeline */
  tell(timeline) {
    this.timeline = timeline;
    this.heardAt = performance.now();
    const { now, fps, branches, replay, progress } = timeline;
    byId("replay").hidden = replay === null;
    if (replay !== null) byId("replay-time").textContent = `${clock(now / fps)} of ${clock(replay / fps)}`;
    this.slider.max = String(now);
    this.slider.step = String(Math.max(1, Math.round(fps)));
    if (!this.choosing) {
      this.slider.value = String(now);
      this.#tellMoment(now);
    }
    const reaching = /** @type {HTMLProgressElement} */ (byId("reaching"));
    reaching.hidden = progress === null;
    if (progress !== null) reaching.value = progress;
    const drawing = JSON.stringify(branches);
    if (drawing !== this.drawn) this.#drawBranches(branches, fps);
    this.drawn = drawing;
  }

  /** @param {number} moment */
  #tellMoment(moment) {
    const { fps, now } = this.timeline ?? { fps: 1, now: 0 };
    const ago = Math.round((now - moment) / fps);
    byId("moment-time").textContent = ago > 0 ? `${clock(moment / fps)}, ${ago} s ago` : clock(moment / fps);
    this.slider.setAttribute("aria-valuetext", ago > 0 ? `${spoken(moment / fps)}, ${ago} seconds ago` : `${spoken(moment / fps)}, now`);
  }

  /** @param {TimelineMessage["branches"]} branches @param {number} fps */
  #drawBranches(branches, fps) {
    const box = byId("branches");
    const had = box.contains(document.activeElement);
    box.hidden = branches.length === 0;
    box.replaceChildren(
      ...branches.map(({ id, start, end }) => {
        const button = element("button", { type: "button", className: "chip", textContent: `${clock(start / fps)} → ${clock(end / fps)}` });
        const words = `the way that you left at ${spoken(start / fps)}`;
        button.title = `Return to ${words}; it goes on to ${spoken(end / fps)}`;
        button.setAttribute("aria-label", `${button.textContent}. ${button.title}`);
        button.addEventListener("click", () => this.onBranch(id, words));
        return button;
      }),
    );
    if (had) (box.querySelector("button") ?? this.slider).focus();
  }

  /** @param {boolean} [shown] */
  toggle(shown = this.root.hidden === true) {
    const had = this.root.contains(document.activeElement);
    this.root.hidden = !shown;
    this.button.setAttribute("aria-expanded", String(shown));
    if (!shown && had) this.button.focus();
  }

  /** Back to how a visit begins. */
  forget() {
    this.timeline = null;
    this.choosing = false;
    byId("replay").hidden = true;
    this.toggle(false);
  }
}

/** @param {number} seconds */
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

/** As a screen reader says it. @param {number} seconds */
function spoken(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes > 0 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}
