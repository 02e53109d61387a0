// What lies over the picture: the bar and its keys, the words, the legend, the panel, short messages.

import { element } from "./states.js";
import { isTyping } from "./controls.js";

/** @typedef {"describe"|"picture"|"reset"|"record"|"share"|"measure"|"expand"|"help"|"adjust"|"rewind"|"back"|"leave"} Deed */

const KEYS = /** @type {Record<string, Deed>} */ ({ KeyT: "describe", KeyP: "picture", KeyR: "reset", KeyV: "record", KeyO: "measure", KeyF: "expand", KeyZ: "back", Backspace: "back" });
const FIRST_STEPS_MS = 1500; // after walking this long, nobody needs the legend
const TOAST_MS = 4000;
const TOAST_MS_A_LETTER = 60; // longer ones stay as long as reading them takes

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

export class Stage {
  /**
   * @param {object} options
   * @param {(deed: Deed) => void} options.onDeed a button or its key
   * @param {(prompt: string) => void} options.onWords new words were entered
   */
  constructor({ onDeed, onWords }) {
    this.onDeed = onDeed;
    this.onWords = onWords;
    this.words = /** @type {HTMLInputElement} */ (byId("words"));
    this.walkedMs = 0;
    this.busySince = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.toastTimer = undefined;
    this.#listen();
  }

  #listen() {
    for (const button of document.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.onDeed(/** @type {Deed} */ (/** @type {HTMLElement} */ (button).dataset["do"])));
    }
    addEventListener("keydown", (event) => this.#key(event));
    byId("words-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.closeWords();
      this.onWords(this.words.value.trim());
    });
    byId("panel-close").addEventListener("click", () => this.togglePanel(false));
    addEventListener("touchstart", () => document.body.classList.add("touch"), { once: true, passive: true });
    if (matchMedia("(pointer: coarse)").matches) document.body.classList.add("touch");
    if (!document.fullscreenEnabled) this.button("expand").hidden = true;
    document.addEventListener("fullscreenchange", () => this.press("expand", document.fullscreenElement !== null));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.code === "Escape") {
      if (!byId("words-form").hidden) this.closeWords();
      else if (!byId("panel").hidden) this.togglePanel(false);
      else if (!byId("timeline").hidden) this.onDeed("rewind");
    }
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const deed = event.key === "?" ? "help" : KEYS[event.code];
    if (!deed || byId("stage").hidden || byId("bar").offsetParent === null) return;
    event.preventDefault(); // or the T would be the first letter of the new words
    this.onDeed(deed);
  }

  /** @param {Deed} deed @returns {HTMLButtonElement} */
  button(deed) {
    return /** @type {HTMLButtonElement} */ (document.querySelector(`[data-do="${deed}"]`));
  }

  /** @param {Deed} deed @param {boolean} pressed */
  press(deed, pressed) {
    this.button(deed).setAttribute("aria-pressed", String(pressed));
  }

  // -- words -----------------------------------------------------------------------------------------------------

  /** @param {string} prompt what the box begins with */
  openWords(prompt) {
    if (document.pointerLockElement) document.exitPointerLock();
    this.words.value = prompt;
    this.toggleLegend(false);
    byId("words-form").hidden = false;
    this.words.select();
  }

  closeWords() {
    byId("words-form").hidden = true;
    byId("stage").focus();
  }

  /** Which words the world knows, and which it does not. @param {import("./protocol.js").WorldMessage} world */
  tellWords(world) {
    const known = world.understood.join(" · ") || (world.prompt ? "None of these words are known, so the world is a guess." : "No words; the seed decides.");
    const parts = [element("span", { className: "known", textContent: known })];
    if (world.unknown.length > 0) {
      const missed = element("span", { textContent: "not understood: " });
      missed.append(element("span", { className: "unknown", textContent: world.unknown.join(", ") }));
      parts.push(missed);
    }
    if (world.image) parts.push(element("span", { textContent: "from a picture" }));
    if (world.familiar === false) parts.push(element("span", { className: "unknown", textContent: "far from what this model knows" }));
    byId("said").replaceChildren(...parts, element("span", { className: "quiet", textContent: `seed ${world.seed}` }));
  }

  // -- legend, panel, messages -----------------------------------------------------------------------------------

  /** @param {boolean} [shown] */
  toggleLegend(shown = byId("legend").hidden === true) {
    byId("legend").hidden = !shown;
    this.button("help").setAttribute("aria-expanded", String(shown));
  }

  /** The first steps take the legend away. @param {boolean} busy something is held */
  setBusy(busy) {
    document.body.classList.toggle("busy", busy);
    const now = performance.now();
    if (busy) {
      this.busySince ||= now;
    } else if (this.busySince > 0) {
      const before = this.walkedMs;
      this.walkedMs += now - this.busySince;
      this.busySince = 0;
      if (before < FIRST_STEPS_MS && this.walkedMs >= FIRST_STEPS_MS) this.toggleLegend(false);
    }
  }

  /** @param {boolean} [shown] */
  togglePanel(shown = byId("panel").hidden === true) {
    byId("panel").hidden = !shown;
    this.button("adjust").setAttribute("aria-expanded", String(shown));
    if (shown) byId("set-look").focus();
    else this.button("adjust").focus();
  }

  /** @param {string} text */
  toast(text) {
    const box = byId("toast");
    box.textContent = text;
    box.hidden = false;
    byId("announcer").textContent = text;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => (box.hidden = true), Math.max(TOAST_MS, text.length * TOAST_MS_A_LETTER));
  }

  /** @param {number | null} seconds how long it has been recording */
  tellRecording(seconds) {
    const box = byId("recording");
    box.hidden = seconds === null;
    this.press("record", seconds !== null);
    if (seconds !== null) box.textContent = `Recording ${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  }

  /** Back to how a visit begins. */
  tidy() {
    this.setBusy(false);
    this.walkedMs = 0;
    byId("words-form").hidden = true;
    byId("panel").hidden = true;
    this.button("adjust").setAttribute("aria-expanded", "false");
    byId("toast").hidden = true;
    this.toggleLegend(false);
  }
}
