// Everything that was made here, newest first.

import { element } from "../states.js";
import { mediumOf, titleOf, words } from "./result.js";
import { icon } from "./slots.js";
import { list, near } from "./tasks.js";

/** @typedef {import("./tasks.js").Task} Task */

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const TYPING_MS = 250;

export class Shelf {
  /** @param {(task: Task) => void} onChoose @param {(problem: unknown) => void} onTrouble */
  constructor(onChoose, onTrouble) {
    this.onChoose = onChoose;
    this.onTrouble = onTrouble;
    /** @type {Map<string, Task>} */
    this.tasks = new Map();
    /** @type {string | null} */
    this.next = null;
    this.current = "";
    this.loading = 0;
    this.search = /** @type {HTMLInputElement} */ (byId("search"));
    let typing = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = window.setTimeout(() => void this.load(), TYPING_MS);
    });
    byId("more").addEventListener("click", () => void this.load(true));
  }

  /** @param {boolean} [more] the page after what is shown */
  async load(more = false) {
    const turn = ++this.loading;
    try {
      const found = await list(this.search.value.trim(), more ? this.next : null);
      if (turn !== this.loading) return;
      if (!more) this.tasks.clear();
      for (const task of found.tasks) this.tasks.set(task.id, task);
      this.next = found.next;
      this.#draw();
    } catch (problem) {
      this.onTrouble(problem);
    }
  }

  #draw() {
    byId("tiles").replaceChildren(...[...this.tasks.values()].map((task) => this.#tile(task)));
    byId("more").hidden = this.next === null;
    byId("shelf-state").textContent = this.tasks.size > 0 ? "" : this.search.value ? "Nothing that was made here says that." : "Nothing was made here yet.";
  }

  /** @param {Task} event */
  update(event) {
    const before = this.tasks.get(event.id);
    const task = event.params ? event : { ...event, params: before?.params ?? {} };
    const tile = document.querySelector(`[data-task="${task.id}"]`);
    if (before?.state === task.state && tile) {
      this.tasks.set(task.id, task);
      const word = tile.querySelector(".stage-word");
      if (word) word.textContent = stateWord(task);
      return;
    }
    if (!before) this.tasks = new Map([[task.id, task], ...this.tasks]);
    else this.tasks.set(task.id, task);
    if (tile) tile.replaceWith(this.#tile(task));
    else this.#draw();
  }

  /** @param {string} id */
  drop(id) {
    this.tasks.delete(id);
    this.#draw();
  }

  /** @param {string} id the task that is large now */
  mark(id) {
    this.current = id;
    for (const tile of document.querySelectorAll("[data-task]")) tile.setAttribute("aria-current", String(tile.getAttribute("data-task") === id));
  }

  /** @param {Task} task */
  #tile(task) {
    const tile = element("button", { type: "button", className: "tile" });
    tile.dataset["task"] = task.id;
    tile.setAttribute("aria-current", String(task.id === this.current));
    const shown = element("span", { className: "shown" });
    shown.append(thumb(task));
    tile.append(shown, element("span", { className: "said", textContent: titleOf(task) }));
    const word = stateWord(task);
    if (word) {
      const label = element("span", { className: "stage-word", textContent: word });
      label.dataset["tone"] = words(task)[1];
      tile.append(label);
    }
    tile.addEventListener("click", () => this.onChoose(this.tasks.get(task.id) ?? task));
    return tile;
  }
}

/** @param {Task} task */
function stateWord(task) {
  const found = { PENDING: "waiting", THROTTLED: "waiting", RUNNING: `${Math.floor(task.progress * 100)} %`, SUCCEEDED: "", FAILED: "failed", CANCELLED: "cancelled" };
  return found[task.state];
}

/** @param {Task} task */
function thumb(task) {
  const url = task.outputs[0];
  if (task.state !== "SUCCEEDED" || !url) return icon(task.kind === "sound" || task.kind === "speech" ? "i-sound" : "i-film");
  const medium = mediumOf(url);
  if (medium === "image") return element("img", { src: near(url), alt: "", loading: "lazy", decoding: "async" });
  if (medium === "video") return element("video", { src: `${near(url)}#t=0.1`, muted: true, preload: "metadata", playsInline: true });
  return icon(medium === "audio" ? "i-sound" : "i-picture");
}
