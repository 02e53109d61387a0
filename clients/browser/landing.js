// The first page: words for a place, chips that write them, a seed, and recordings of worlds that the model drew.

import { MAX_PROMPT_CHARS, clampSeed } from "./protocol.js";
import { rollSeed } from "./address.js";
import { element } from "./states.js";

/** @typedef {import("./protocol.js").WorldInfo} WorldInfo */
/** @typedef {{file: string, still?: string, prompt: string, seed: number}} Sheet one entry of recordings/index.json */

const COMPLAINT_MS = 15_000;

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

export class Landing {
  /**
   * @param {object} options
   * @param {(wish: {seed: number, prompt: string}) => void} options.onEnter
   * @param {(wish: {seed: number, prompt: string}) => void} options.onWatch somebody walks, and they want to see it
   * @param {(file: File) => void} options.onFile a log that they kept
   * @param {() => boolean} options.hasImage a picture was chosen, whose caption stands in for words
   */
  constructor({ onEnter, onWatch, onFile, hasImage }) {
    this.hasImage = hasImage;
    this.prompt = /** @type {HTMLInputElement} */ (byId("prompt"));
    this.seed = /** @type {HTMLInputElement} */ (byId("seed"));
    this.prompt.maxLength = MAX_PROMPT_CHARS;
    /** @type {string[][]} */
    this.groups = [];
    /** @type {Map<HTMLButtonElement, {group: string[], word: string}>} */
    this.chips = new Map();
    this.prompt.addEventListener("input", () => this.#light());
    byId("roll").addEventListener("click", () => this.fill({ seed: rollSeed() }));
    byId("landing-form").addEventListener("submit", (event) => {
      event.preventDefault();
      onEnter(this.wish());
    });
    byId("just-watch").addEventListener("click", () => onWatch(this.wish()));
    const files = /** @type {HTMLInputElement} */ (byId("log-file"));
    byId("open-log").addEventListener("click", () => files.click());
    files.addEventListener("change", () => {
      const [file] = files.files ?? [];
      files.value = ""; // the same file may be chosen again
      if (file) onFile(file);
    });
    this.complainedAt = -Infinity;
  }

  /** What the person asks for. An empty box is answered with words, so that the link to this world can be shared. */
  wish() {
    if (!this.prompt.value.trim() && !this.hasImage() && this.groups.length > 0) this.fill({ prompt: this.groups.map(pick).filter(Boolean).join(", ") });
    if (this.seed.value === "") this.fill({ seed: rollSeed() });
    return { seed: clampSeed(Number(this.seed.value)), prompt: this.prompt.value.trim() };
  }

  /** @param {{seed?: number, prompt?: string}} wish */
  fill({ seed, prompt }) {
    if (seed !== undefined) this.seed.value = String(seed);
    if (prompt !== undefined) this.prompt.value = prompt;
    this.#light();
  }

  /** @param {WorldInfo} info */
  describe(info) {
    const { themes, times, weathers, moods } = info;
    this.groups = [themes, times, weathers, moods];
    this.prompt.maxLength = info.max_prompt_chars;
    const controls = info.controls;
    if (controls) for (const part of document.querySelectorAll("[data-needs]")) part.classList.toggle("absent", !controls.includes(part.getAttribute("data-needs") ?? ""));
    this.chips.clear();
    const named = /** @type {const} */ ([["Theme", themes], ["Time", times], ["Weather", weathers], ["Mood", moods]]);
    byId("chips").replaceChildren(...named.filter(([, words]) => words.length > 0).map(([name, words]) => this.#group(name, words)));
    byId("facts").textContent = `${info.name} · ${info.width} × ${info.height} · ${info.fps} frames a second · ${info.engine}, ${info.steps} ${info.steps === 1 ? "step" : "steps"}${controls?.includes("walk") === false ? " · steered by words alone" : ""}`;
    this.#light();
  }

  /** @param {{live: boolean, queue: number}} status */
  tell(status) {
    byId("just-watch").hidden = !status.live;
    if (performance.now() - this.complainedAt < COMPLAINT_MS) return;
    delete byId("status").dataset["tone"];
    const line = status.queue > 0 ? `, ${status.queue} in line` : "";
    byId("status").textContent = status.live ? `Somebody is walking now${line}. You watch until it is your turn.` : "Nobody is walking now. You go straight in.";
  }

  /** Something that they asked for cannot be; the line says so until it was read. @param {string} words */
  complain(words) {
    this.complainedAt = performance.now();
    byId("status").dataset["tone"] = "trouble";
    byId("status").textContent = words;
    byId("announcer").textContent = words;
  }

  /** @param {string} name @param {string[]} words */
  #group(name, words) {
    const row = element("div", { className: "chips" });
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", name);
    const wrap = element("div");
    row.append(element("span", { className: "quiet chips-name", textContent: name }), wrap);
    for (const word of words) {
      const chip = element("button", { type: "button", className: "chip", textContent: word });
      chip.addEventListener("click", () => {
        this.fill({ prompt: toggleWord(this.prompt.value, word, words, this.groups.flat()) });
      });
      this.chips.set(chip, { group: words, word });
      wrap.append(chip);
    }
    return row;
  }

  #light() {
    const said = new Set(wordsIn(this.prompt.value, this.groups.flat()).map(({ word }) => word));
    for (const [chip, { word }] of this.chips) chip.setAttribute("aria-pressed", String(said.has(word)));
  }

  /** Recordings, if this copy has any. @param {string} folder */
  async showRecordings(folder) {
    const response = await fetch(`${folder}/index.json`).catch(() => null);
    const listed = response?.ok ? await response.json().catch(() => null) : null;
    const sheets = /** @type {Sheet[]} */ (Array.isArray(listed?.recordings) ? listed.recordings : []);
    byId("sheet").hidden = sheets.length === 0;
    byId("landing").classList.toggle("with-sheet", sheets.length > 0);
    byId("tiles").replaceChildren(...sheets.map((sheet) => this.#tile(sheet, folder)));
  }

  /** @param {Sheet} sheet @param {string} folder */
  #tile(sheet, folder) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const source = `${folder}/${sheet.file}`;
    const tile = element("button", { type: "button", className: "tile" });
    tile.setAttribute("aria-label", `Use the words of this recording: ${sheet.prompt}`);
    if (sheet.file.endsWith(".mp4") || sheet.file.endsWith(".webm")) {
      tile.append(element("video", { src: source, muted: true, loop: true, autoplay: !still, playsInline: true, preload: still ? "metadata" : "auto" }));
    } else {
      const picture = element("img", { alt: "", loading: "lazy", decoding: "async", width: 256, height: 160 });
      picture.src = still && sheet.still ? `${folder}/${sheet.still}` : source;
      tile.append(still && !sheet.still ? frozen(picture) : picture);
    }
    tile.append(element("span", { className: "tile-name", textContent: sheet.prompt }));
    tile.addEventListener("click", () => {
      this.fill(sheet);
      byId("enter").focus();
    });
    return tile;
  }
}

/** The first picture of an animation, for people who asked for stillness. @param {HTMLImageElement} picture */
function frozen(picture) {
  const canvas = element("canvas", { width: 256, height: 160 });
  picture.loading = "eager";
  picture.addEventListener("load", () => canvas.getContext("2d")?.drawImage(picture, 0, 0, 256, 160));
  return canvas;
}

/**
 * The known words in a prompt and where they stand; "autumn forest" is not also a "forest".
 * @param {string} prompt
 * @param {string[]} known
 */
export function wordsIn(prompt, known) {
  let text = prompt.toLowerCase();
  const found = [];
  for (const word of [...known].sort((a, b) => b.length - a.length)) {
    const place = new RegExp(`(?<![\\p{L}\\p{N}])${word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}(?![\\p{L}\\p{N}])`, "u").exec(text);
    if (!place) continue;
    found.push({ word, start: place.index });
    text = text.slice(0, place.index) + "\u0000".repeat(word.length) + text.slice(place.index + word.length);
  }
  return found;
}

/**
 * The prompt with a chip pressed: its word goes in place of another of its group, or leaves if it was there.
 * @param {string} prompt
 * @param {string} word
 * @param {string[]} group
 * @param {string[]} known
 */
export function toggleWord(prompt, word, group, known) {
  const present = wordsIn(prompt, known).filter((found) => group.includes(found.word));
  const removing = present.some((found) => found.word === word);
  let text = prompt;
  let placed = removing;
  for (const { word: old, start } of present.sort((a, b) => b.start - a.start)) {
    if (removing && old !== word) continue;
    text = text.slice(0, start) + (placed ? "" : word) + text.slice(start + old.length);
    placed = true;
  }
  if (!placed) text = text.trim() ? `${text.trim()}, ${word}` : word;
  return text.replace(/\s+/g, " ").replace(/\s*,(\s*,)+/g, ",").replace(/^[\s,]+|[\s,]+$/g, ""); // no commas left lonely
}

/** @param {string[]} words */
function pick(words) {
  return words[Math.floor(Math.random() * words.length)] ?? "";
}
