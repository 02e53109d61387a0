// A picture to start from: chosen, dropped or pasted; sent; shown with what the model sees in it.

import { element } from "./states.js";
import { Refused } from "./link.js";

/** @typedef {import("./upload.js").StartImage} StartImage */

export const FAR = "This picture is far from what this model knows. The world will drift away from it within seconds.";

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

export class FirstImage {
  /**
   * @param {object} options
   * @param {(file: Blob, signal: AbortSignal) => Promise<StartImage>} options.send
   * @param {() => boolean} options.onStage whether a world is on the screen: a picture then starts a new one at once
   * @param {(sent: StartImage) => void} options.onStart start a new world from this picture now
   * @param {(text: string) => void} options.onTold something to say while a world is on the screen
   * @param {(caption: string, before: string) => void} options.onCaption the words of the chosen picture, "" for none
   */
  constructor({ send, onStage, onStart, onTold, onCaption }) {
    this.send = send;
    this.onStage = onStage;
    this.onStart = onStart;
    this.onTold = onTold;
    this.onCaption = onCaption;
    this.file = /** @type {HTMLInputElement} */ (byId("image-file"));
    this.thumb = /** @type {HTMLImageElement} */ (byId("image-thumb"));
    /** @type {StartImage | null} */
    this.chosen = null;
    this.abort = new AbortController();
    this.depth = 0; // of elements that a dragged file is over
    this.#listen();
  }

  #listen() {
    byId("image-choose").addEventListener("click", () => this.choose());
    byId("image-remove").addEventListener("click", () => {
      this.remove();
      byId("image-choose").focus();
    });
    this.file.addEventListener("change", () => {
      const file = this.file.files?.[0];
      if (file) void this.take(file);
      this.file.value = ""; // so that the same file can be chosen again
    });
    addEventListener("dragenter", (event) => this.#drag(event, 1));
    addEventListener("dragleave", (event) => this.#drag(event, -1));
    addEventListener("dragover", (event) => carriesFiles(event.dataTransfer) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!carriesFiles(event.dataTransfer)) return;
      event.preventDefault(); // or the browser would leave the page for the file
      this.#drag(event, -this.depth);
      const file = event.dataTransfer?.files[0];
      if (file) void this.take(file);
    });
    addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      if (!file) return; // text goes where text goes
      event.preventDefault();
      void this.take(file);
    });
  }

  /** @param {DragEvent} event @param {number} change */
  #drag(event, change) {
    if (!carriesFiles(event.dataTransfer)) return;
    this.depth = Math.max(0, this.depth + change);
    byId("drop-hint").hidden = this.depth === 0;
  }

  /** Ask for a file. */
  choose() {
    this.file.click();
  }

  /** The id of the chosen picture, for a world that is entered now. */
  get id() {
    return this.chosen?.image ?? null;
  }

  /** Send a picture; what comes of it is shown. @param {Blob} file */
  async take(file) {
    const onStage = this.onStage();
    if (!onStage) this.remove();
    this.abort.abort(); // of what came before, the newest counts
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.#say(onStage, "Sending the picture to the server.");
    try {
      const sent = await this.send(file, signal);
      if (signal.aborted) return;
      if (onStage) this.onStart(sent);
      else this.#show(sent, file);
    } catch (problem) {
      if (signal.aborted) return;
      const refused = problem instanceof Refused ? problem.trouble : null;
      const text = refused ? `${refused.message} ${refused.remedy}` : "The server is not reached, so the picture was not sent. Try again.";
      this.#say(onStage, text, true);
    }
  }

  /** @param {boolean} onStage @param {string} text @param {boolean} [trouble] */
  #say(onStage, text, trouble = false) {
    if (onStage) return this.onTold(text);
    const line = byId("image-status");
    line.textContent = text;
    if (trouble) line.dataset["tone"] = "trouble";
    else delete line.dataset["tone"];
  }

  /** @param {StartImage} sent @param {Blob} file */
  #show(sent, file) {
    const before = this.chosen?.caption ?? "";
    this.chosen = sent;
    this.thumb.src = URL.createObjectURL(file);
    const lines = [element("p", { textContent: `The model sees: ${sent.caption}` })];
    if (!sent.familiar) lines.push(element("p", { className: "far", textContent: FAR }));
    lines.push(...sent.notes.map((note) => element("p", { className: "quiet", textContent: note })));
    byId("image-lines").replaceChildren(...lines);
    byId("image-chosen").hidden = false;
    this.#say(false, "The world will start from this picture.");
    this.onCaption(sent.caption, before);
  }

  /** No picture any more. */
  remove() {
    this.abort.abort();
    URL.revokeObjectURL(this.thumb.src);
    this.thumb.removeAttribute("src");
    byId("image-chosen").hidden = true;
    byId("image-lines").replaceChildren();
    this.#say(false, "");
    const before = this.chosen?.caption ?? "";
    this.chosen = null;
    if (before) this.onCaption("", before);
  }
}

/** @param {DataTransfer | null} transfer */
function carriesFiles(transfer) {
  return transfer?.types.includes("Files") ?? false;
}
