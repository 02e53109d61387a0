// What goes in: words, camera moves, files, sizes; and the order that comes of it.

import { element } from "../states.js";
import { Painter } from "./painter.js";
import { Slot } from "./slots.js";
import { send } from "./tasks.js";

/** @typedef {{kind: string, params: Record<string, unknown>, inputs: Record<string, string>}} Order */
/** @typedef {"clip" | "still" | "edit" | "sound" | "speech"} Make */

const CLIP_SIZES = ["1280:720", "720:1280", "1104:832", "832:1104", "960:960", "1584:672", "1920:1080", "1080:1920"];
const STILL_SIZES = ["1920:1080", "1080:1920", "1024:1024", "1360:768", "1440:1080", "1080:1440", "1168:880", "1808:768", "2112:912", "1280:720", "720:1280", "720:720", "960:720", "720:960"];
const ASPECTS = ["16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "21:9"];
const FORMATS = /** @type {Record<string, string>} */ ({
  mp4: "MP4", prores: "ProRes", png_sequence: "PNG pictures", sdr_rec709_10bit: "10-bit", hdr10: "HDR10", hlg: "HLG", hdr_prores: "HDR ProRes", hdr_exr_sequence: "EXR pictures",
});
const MOVES = ["pan left", "pan right", "tilt up", "tilt down", "push in", "pull out", "truck left", "truck right", "orbit left", "orbit right", "hold still"];
const MOVE_S = 2; // each move that is pressed begins this long after the one before
const WORDS = /** @type {Record<Make, [string, string, string]>} */ ({
  clip: ["What the clip shows", "Desert at dusk, calm", "Draw the clip"],
  still: ["What the picture shows", "Snowy mountains at dawn", "Draw the picture"],
  edit: ["What should become of it", "The same place at night, in rain", "Edit the video"],
  sound: ["What it sounds like", "Rain on a roof, distant thunder", "Make the sound"],
  speech: ["What is said", "Welcome. Press W to walk.", "Speak"],
});

/** @template {HTMLElement} T @param {string} id @param {new () => T} _kind */
function field(id, _kind) {
  return /** @type {T} */ (document.getElementById(id));
}
/** @param {string} id */
const input = (id) => field(id, HTMLInputElement);
/** @param {string} id */
const text = (id) => field(id, HTMLTextAreaElement);
/** @param {string} id */
const choice = (id) => field(id, HTMLSelectElement);
/** @param {string} id */
const box = (id) => field(id, HTMLElement);

export function freshSeed() {
  return String((crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) % 1_000_000); // short enough to be said aloud
}

/** `[02:30] rain` and its like, as the server wants it. @param {number} seconds */
export function stamp(seconds) {
  return `[${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(Math.floor(seconds % 60)).padStart(2, "0")}]`;
}

/** A camera text with one more move at its end. @param {string} before @param {string} move */
export function withMove(before, move) {
  const stamps = [...before.matchAll(/\[\s*(\d{1,3}):(\d{1,2})/g)].map((found) => Number(found[1]) * 60 + Number(found[2]));
  if (!before.trim()) return `${stamp(0)} ${move}`;
  return `${before.trim()} ${stamp(Math.max(0, ...stamps) + MOVE_S)} ${move}`;
}

export class OrderForm {
  /** @param {(order: Order) => void} onOrder @param {(problem: unknown) => void} onTrouble @param {() => void} onMake */
  constructor(onOrder, onTrouble, onMake) {
    this.form = field("order", HTMLFormElement);
    this.onMake = onMake;
    /** @type {Slot[]} */
    this.fixed = [...document.querySelectorAll(".slot[data-slot]")].map((place) => {
      const { slot = "", takes = "" } = /** @type {HTMLElement} */ (place).dataset;
      return new Slot(/** @type {HTMLElement} */ (place), { name: slot, takes: /** @type {import("./slots.js").Medium} */ (takes), onChange: () => this.#changed() });
    });
    /** @type {Slot[]} */
    this.keys = [];
    /** @type {Slot[]} */
    this.refs = [];
    /** @type {File | null} */
    this.mask = null;
    this.painter = new Painter((mask) => this.#painted(mask));
    this.#fill();
    this.#listen(onOrder, onTrouble);
    this.show("clip");
  }

  get make() {
    return /** @type {Make} */ (/** @type {HTMLInputElement} */ (this.form.querySelector("[name=make]:checked")).value);
  }

  /** Every slot that the person sees now. */
  get slots() {
    return [...this.fixed, ...this.keys, ...this.refs].filter((slot) => slot.box.offsetParent !== null);
  }

  #fill() {
    /** @param {string} id @param {[string, string][]} options */
    const options = (id, options) => choice(id).replaceChildren(...options.map(([value, textContent]) => element("option", { value, textContent })));
    options("aspect", [["", "As it is"], ...ASPECTS.map((each) => /** @type {[string, string]} */ ([each, each]))]);
    options("format", Object.entries(FORMATS));
    this.#sizes();
    input("seed").value = freshSeed();
    box("moves").replaceChildren(
      ...MOVES.map((move) => {
        const button = element("button", { type: "button", textContent: move });
        button.addEventListener("click", () => {
          text("camera").value = withMove(text("camera").value, move);
          box("announcer").textContent = `Camera: ${text("camera").value}`;
        });
        return button;
      }),
    );
  }

  #sizes() {
    const sizes = this.make === "still" ? STILL_SIZES : CLIP_SIZES;
    choice("size").replaceChildren(...sizes.map((size) => element("option", { value: size, textContent: size.replace(":", " × ") })));
  }

  /** @param {string[]} voices */
  offer(voices) {
    choice("voice").replaceChildren(...voices.map((voice) => element("option", { value: voice, textContent: voice })));
  }

  /** @param {(order: Order) => void} onOrder @param {(problem: unknown) => void} onTrouble */
  #listen(onOrder, onTrouble) {
    for (const radio of this.form.querySelectorAll("[name=make]")) {
      radio.addEventListener("change", () => {
        this.show(this.make);
        this.onMake();
      });
    }
    box("roll").addEventListener("click", () => (input("seed").value = freshSeed()));
    box("add-ref").addEventListener("click", () => this.#addReference());
    box("add-key").addEventListener("click", () => this.#addKey());
    box("paint").addEventListener("click", () => {
      const video = this.fixed.find((slot) => slot.name === "video");
      if (!video?.file) return this.#complain("Choose the video first; the mask is painted over its first picture.");
      this.painter.open(video.url).catch((/** @type {Error} */ error) => this.#complain(`The mask cannot be painted: ${error.message}.`));
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wrong = this.#wrong();
      if (wrong) return this.#complain(wrong);
      this.#complain("");
      const button = field("make", HTMLButtonElement);
      button.disabled = true;
      this.order().then(onOrder, onTrouble).finally(() => (button.disabled = false));
    });
  }

  /** @param {Make} make */
  show(make) {
    /** @type {HTMLInputElement} */ (this.form.querySelector(`[name=make][value=${make}]`)).checked = true;
    document.body.dataset["make"] = make;
    for (const part of this.form.querySelectorAll("[data-for]")) part.classList.toggle("absent", !part.getAttribute("data-for")?.split(" ").includes(make));
    const [label, example, button] = WORDS[make];
    box("prompt-label").textContent = label;
    text("prompt").placeholder = example;
    box("make").textContent = button;
    this.#sizes();
    this.#changed();
  }

  #changed() {
    const tags = this.refs.map((slot) => tagOf(slot)).filter(Boolean);
    box("prompt-hint").textContent = this.make !== "sound" && this.make !== "speech" && tags.length > 0 ? `Speak of the references as ${tags.map((tag) => `@${tag}`).join(", ")}.` : "";
  }

  /** @param {File | null} mask */
  #painted(mask) {
    this.mask = mask;
    box("painted").textContent = mask ? "Only what is painted over changes." : "Nothing is painted: the whole picture changes.";
    box("paint").focus();
  }

  #addReference() {
    const place = element("div");
    const tag = element("input", { type: "text", maxLength: 16, pattern: "[a-z][a-z0-9_]{2,15}", placeholder: "name, e.g. hero", autocomplete: "off" });
    tag.setAttribute("aria-label", "What the words call this reference, after @");
    tag.addEventListener("input", () => this.#changed());
    this.#extra(this.refs, "refs", place, "A picture to go by", tag);
  }

  #addKey() {
    const place = element("div");
    const at = element("input", { type: "number", min: "0", max: "30", step: "0.1", value: "0" });
    at.setAttribute("aria-label", "At which second");
    this.#extra(this.keys, "keys", place, "Looks like this at a time, in seconds", at);
  }

  /** @param {Slot[]} into @param {string} list @param {HTMLElement} place @param {string} title @param {HTMLInputElement} more */
  #extra(into, list, place, title, more) {
    const line = element("div", { className: "more" });
    line.append(more);
    place.append(line);
    const slot = new Slot(place, {
      name: list, takes: "image", title,
      onChange: () => this.#changed(),
      onRemove: () => {
        into.splice(into.indexOf(slot), 1);
        place.remove();
        box(list === "refs" ? "add-ref" : "add-key").focus();
      },
    });
    into.push(slot);
    box(list).append(place);
    /** @type {HTMLElement | null} */ (place.querySelector("button"))?.focus();
  }

  /** @param {string} words */
  #complain(words) {
    box("order-trouble").textContent = words;
  }

  /** What is missing, in words. */
  #wrong() {
    const make = this.make;
    const words = text("prompt").value.trim();
    const has = (/** @type {string} */ name) => this.fixed.some((slot) => slot.name === name && slot.file);
    const operation = choice("operation").value;
    if (make === "edit" && !has("video")) return "Choose the video to edit.";
    if (make === "edit" && ["replace", "remove"].includes(operation) && !this.mask) return "Paint over what should go first.";
    if (make === "edit" && !words && !operation && this.keys.length === 0) return "Say what should become of the video.";
    if (make === "clip" && !words && !has("first") && !has("extend") && !has("last")) return "Say what the clip shows, or choose a picture.";
    if (make !== "clip" && make !== "edit" && !words) return "Write what it should be.";
    if (this.refs.some((slot) => slot.file && !tagOf(slot))) return "Give each reference a name of 3 to 16 small letters.";
    return "";
  }

  /** The order, files sent. Raises Refused or Unreached. @returns {Promise<Order>} */
  async order() {
    const make = this.make;
    const params = this.#params(make);
    /** @type {Record<string, string>} */
    const inputs = {};
    const wanted = make === "clip" ? ["first", "last", "extend"] : make === "edit" ? ["video"] : [];
    for (const slot of this.fixed) if (slot.file && wanted.includes(slot.name)) inputs[slot.name] = await send(slot.file, slot.file.name);
    if (make === "edit" && this.mask) inputs["mask"] = await send(this.mask, "mask.png");
    if (make !== "sound" && make !== "speech") {
      params["references"] = await this.#sent(this.refs, "ref", inputs, (slot) => ({ tag: tagOf(slot) }));
      if (make === "edit") params["keyframes"] = await this.#sent(this.keys, "key", inputs, (slot) => ({ at_s: Number(extra(slot)?.value ?? 0) }));
    }
    for (const [name, value] of Object.entries(params)) if (value === "" || (Array.isArray(value) && value.length === 0)) delete params[name];
    return { kind: make, params, inputs };
  }

  /** @param {Slot[]} slots @param {string} prefix @param {Record<string, string>} inputs @param {(slot: Slot) => object} more */
  async #sent(slots, prefix, inputs, more) {
    const found = /** @type {object[]} */ ([]);
    for (const slot of slots.filter((each) => each.file)) {
      const name = /** @type {string} */ (`${prefix}${found.length}`);
      inputs[name] = await send(/** @type {File} */ (slot.file), /** @type {File} */ (slot.file).name);
      found.push({ input: name, ...more(slot) });
    }
    return found;
  }

  /** @param {Make} make @returns {Record<string, unknown>} */
  #params(make) {
    const [width, height] = choice("size").value.split(":").map(Number);
    const seed = Math.min(2 ** 32 - 1, Number(input("seed").value) || 0);
    const prompt = text("prompt").value.trim();
    if (make === "clip") {
      return { prompt, seconds: Number(input("seconds").value), width, height, seed, camera: text("camera").value.trim(), draft: input("draft").checked, audio: input("audio").checked, format: choice("format").value };
    }
    if (make === "still") return { prompt, width, height, seed, count: Number(input("count").value) };
    if (make === "edit") return { prompt, seed, operation: choice("operation").value, aspect: choice("aspect").value, format: choice("format").value };
    if (make === "sound") return { prompt, seed, seconds: Number(input("sound-seconds").value), loop: input("loop").checked };
    return { text: prompt, voice: choice("voice").value };
  }

  /** Put an earlier order's words and numbers back. @param {string} kind @param {Record<string, any>} params */
  recall(kind, params) {
    if (!(kind in WORDS)) return;
    this.show(/** @type {Make} */ (kind));
    text("prompt").value = params["prompt"] ?? params["text"] ?? "";
    if (params["camera"] !== undefined) text("camera").value = params["camera"];
    if (params["seed"] !== undefined) input("seed").value = String(params["seed"]);
    if (params["seconds"] !== undefined) input(kind === "sound" ? "sound-seconds" : "seconds").value = String(params["seconds"]);
    const size = `${params["width"]}:${params["height"]}`;
    if ([...choice("size").options].some((option) => option.value === size)) choice("size").value = size;
  }

  /** A result goes in again. @param {File} file @param {Make} make @param {string} slot */
  use(file, make, slot) {
    this.show(make);
    this.onMake();
    this.fixed.find((each) => each.name === slot)?.take(file);
    this.form.scrollIntoView({ block: "start" });
    text("prompt").focus();
  }
}

/** @param {Slot} slot */
function extra(slot) {
  return /** @type {HTMLInputElement | null} */ (slot.box.querySelector(".more input"));
}

/** @param {Slot} slot */
function tagOf(slot) {
  const tag = extra(slot)?.value.trim() ?? "";
  return /^[a-z][a-z0-9_]{2,15}$/.test(tag) ? tag : "";
}
