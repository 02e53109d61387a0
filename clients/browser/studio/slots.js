// Places for files: chosen, dropped, pasted, or taken from the shelf.

import { element } from "../states.js";

/** @typedef {"image" | "video" | "audio"} Medium */

const ACCEPT = { image: "image/png,image/jpeg,image/webp", video: "video/*", audio: "audio/*" };
const NAMES = /** @type {Record<string, string>} */ ({
  first: "Begins with this picture", last: "Ends with this picture", extend: "Goes on from this video", video: "The video to edit",
});

const chooser = /** @type {HTMLInputElement} */ (document.getElementById("file"));
/** @type {((file: File) => void) | null} */
let waiting = null;
chooser.addEventListener("change", () => {
  const file = chooser.files?.[0];
  chooser.value = ""; // so that the same file can be chosen again
  if (file) waiting?.(file);
});

/** One place for one file. */
export class Slot {
  /**
   * @param {HTMLElement} box
   * @param {object} options
   * @param {string} options.name as the order calls it
   * @param {Medium} options.takes
   * @param {string} [options.title]
   * @param {() => void} options.onChange
   * @param {() => void} [options.onRemove] the place itself goes too
   */
  constructor(box, { name, takes, title, onChange, onRemove }) {
    this.box = box;
    this.name = name;
    this.takes = takes;
    this.title = title ?? NAMES[name] ?? name;
    this.onChange = onChange;
    this.onRemove = onRemove;
    /** @type {File | null} */
    this.file = null;
    this.url = "";
    box.classList.add("slot");
    this.#show();
    box.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) box.dataset["over"] = "";
    });
    for (const kind of ["dragleave", "drop"]) box.addEventListener(kind, () => delete box.dataset["over"]);
    box.addEventListener("drop", (event) => {
      const file = event.dataTransfer?.files[0];
      if (file && this.fits(file)) this.take(file);
    });
  }

  /** @param {Blob} file */
  fits(file) {
    return file.type.startsWith(`${this.takes}/`);
  }

  /** @param {File | null} file */
  take(file) {
    URL.revokeObjectURL(this.url);
    this.file = file;
    this.url = file ? URL.createObjectURL(file) : "";
    this.#show();
    this.onChange();
  }

  #show() {
    const kept = this.box.querySelector(".more");
    const thumb = element("span", { className: "thumb" });
    if (this.file && this.takes === "image") thumb.replaceChildren(element("img", { src: this.url, alt: "", className: "thumb" }));
    else if (this.file && this.takes === "video") thumb.replaceChildren(element("video", { src: this.url, muted: true, preload: "metadata", className: "thumb" }));
    else thumb.append(icon(this.takes === "image" ? "i-picture" : "i-film"));
    const named = element("span", { className: "named" });
    named.append(element("span", { textContent: this.title }));
    if (this.file) named.append(element("br"), element("span", { className: "quiet", textContent: this.file.name }));
    const buttons = element("span", { className: "row-start" });
    const choose = element("button", { type: "button", textContent: this.file ? "Change" : "Choose" });
    choose.setAttribute("aria-label", `${choose.textContent}: ${this.title}`);
    choose.addEventListener("click", () => {
      waiting = (file) => this.take(file);
      chooser.accept = ACCEPT[this.takes];
      chooser.click();
    });
    buttons.append(choose);
    if (this.file || this.onRemove) {
      const remove = element("button", { type: "button", className: "quiet-button", textContent: "Remove" });
      remove.setAttribute("aria-label", `Remove: ${this.title}`);
      remove.addEventListener("click", () => {
        const whole = this.onRemove && !this.file;
        this.take(null);
        if (whole || this.onRemove) this.onRemove?.();
        else /** @type {HTMLElement | null} */ (this.box.querySelector("button"))?.focus();
      });
      buttons.append(remove);
    }
    this.box.replaceChildren(thumb, named, buttons, ...(kept ? [kept] : []));
  }
}

/** @param {string} id */
export function icon(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

/**
 * Files dropped beside a slot, or pasted, go to the first free slot that takes them.
 * @param {() => Slot[]} slots those that can be seen
 * @param {(text: string) => void} tell
 */
export function takeAnywhere(slots, tell) {
  let depth = 0;
  const hint = /** @type {HTMLElement} */ (document.getElementById("drop-hint"));
  /** @param {File | undefined} file */
  const take = (file) => {
    if (!file) return;
    const slot = slots().find((each) => each.fits(file) && !each.file) ?? slots().find((each) => each.fits(file));
    if (slot) slot.take(file);
    else tell(`There is no place here for a file like ${file.name}.`);
  };
  /** @param {DragEvent} event @param {number} change */
  const drag = (event, change) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    depth = Math.max(0, depth + change);
    hint.hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => drag(event, 1));
  addEventListener("dragleave", (event) => drag(event, -1));
  addEventListener("dragover", (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // or the browser would leave the page for the file
    drag(event, -depth);
    if (!(event.target instanceof Element && event.target.closest(".slot"))) take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (!file) return; // text goes where text goes
    event.preventDefault();
    take(file);
  });
}
