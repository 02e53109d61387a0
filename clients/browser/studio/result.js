// One task, large: how far it is while it forms, then what came of it and where it comes from.

import { element } from "../states.js";
import { icon } from "./slots.js";
import { near, origin } from "./tasks.js";

/** @typedef {import("./tasks.js").Task} Task */

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const PICTURES = /\.(png|jpe?g|webp)$/i;
const VIDEOS = /\.(mp4|mov|webm|mkv)$/i;
const SOUNDS = /\.(mp3|wav|flac|ogg|opus)$/i;

/** @param {string} url @returns {"image" | "video" | "audio" | "file"} */
export function mediumOf(url) {
  const path = new URL(url).pathname;
  return PICTURES.test(path) ? "image" : VIDEOS.test(path) ? "video" : SOUNDS.test(path) ? "audio" : "file";
}

/** What a person would call the task. @param {Task} task */
export function titleOf(task) {
  return String(task.params?.["prompt"] || task.params?.["text"] || task.params?.["operation"] || task.kind.replaceAll("_", " "));
}

/** Its state in words, and how they should look. @param {Task} task @returns {[string, string]} */
export function words(task) {
  const left = task.left_s === null || task.left_s === undefined ? "" : `, about ${duration(task.left_s)} left`;
  switch (task.state) {
    case "PENDING":
      return ["Waiting for its turn.", "wait"];
    case "THROTTLED":
      return ["Waiting: as many of this kind as are allowed are being made.", "wait"];
    case "RUNNING":
      return [task.progress > 0 ? `${Math.floor(task.progress * 100)} % done${left}.` : "Beginning.", "live"];
    case "SUCCEEDED":
      return ["", "live"];
    case "FAILED":
      return [`${task.failure} ${remedyFor(task.failure_code)} Its id is ${task.id.slice(0, 8)}.`, "trouble"];
    default:
      return ["It was cancelled.", "wait"];
  }
}

/** @param {string} code */
function remedyFor(code) {
  if (code.startsWith("SAFETY")) return "Change the words or the picture.";
  if (code.startsWith("INTERNAL")) return "Try it again.";
  return "Change what the message names, and make it again.";
}

/** @param {number} seconds */
function duration(seconds) {
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

export class Result {
  /** @param {{act: (what: string, task: Task, index: number) => void}} options */
  constructor({ act }) {
    this.act = act;
    /** @type {Task | null} */
    this.task = null;
    this.shown = "";
    this.announced = "";
    byId("compare").addEventListener("input", () => this.#split());
  }

  /** @param {Task} event as it is now; events come without params */
  show(event) {
    const task = event.params ? event : { ...event, params: this.task?.id === event.id ? this.task.params : {} };
    const another = this.task?.id !== task.id;
    this.task = task;
    if (another) this.#clear();
    const [said, tone] = words(task);
    byId("state").dataset["tone"] = tone;
    this.#say(said, task);
    const bar = /** @type {HTMLProgressElement} */ (byId("progress"));
    bar.hidden = task.state !== "RUNNING";
    bar.value = task.progress;
    if (event.preview && task.state !== "SUCCEEDED") this.#forming(event.preview);
    if (task.state === "SUCCEEDED" && this.shown !== task.id) this.#finished(task);
    this.#facts(task);
    this.#actions(task);
  }

  /** Numbers that change all the time are not spoken each time. @param {string} said @param {Task} task */
  #say(said, task) {
    const line = byId("state");
    line.setAttribute("aria-live", task.state === "RUNNING" ? "off" : "polite");
    line.textContent = said;
    const spoken = `${task.id} ${task.state}`;
    if (task.state === "SUCCEEDED" && this.announced && this.announced !== spoken) byId("announcer").textContent = `Done: ${titleOf(task)}`;
    this.announced = spoken;
  }

  #clear() {
    this.shown = this.announced = "";
    this.endComparison();
    byId("view").replaceChildren(element("p", { id: "empty", textContent: "It appears here while it forms." }));
    byId("notes").replaceChildren();
    this.#shape(this.task?.params ?? {});
  }

  /** @param {Record<string, any>} params */
  #shape({ width, height }) {
    byId("view").style.setProperty("--shape", String(width && height ? width / height : 16 / 9));
  }

  /** @param {string} source */
  #forming(source) {
    let picture = /** @type {HTMLImageElement | null} */ (document.querySelector("#view > .forming"));
    if (!picture) {
      picture = element("img", { className: "forming", alt: "A frame as it forms" });
      byId("view").replaceChildren(picture);
    }
    picture.src = source;
  }

  /** @param {Task} task */
  #finished(task) {
    this.shown = task.id;
    const media = task.outputs.map((url) => ({ url: near(url), medium: mediumOf(url) }));
    const [first] = media;
    const view = byId("view");
    if (!first) return view.replaceChildren(element("p", { id: "empty", textContent: "Its files are not kept any more." }));
    if (media.length > 1 && first.medium === "image") {
      const strip = element("div", { className: "strip" });
      strip.append(...media.map(({ url }, i) => element("img", { src: url, alt: `${titleOf(task)}, ${i + 1} of ${media.length}` })));
      return view.replaceChildren(strip);
    }
    view.replaceChildren(mediaElement(first.url, first.medium, titleOf(task)));
    const shown = view.firstElementChild;
    if (shown instanceof HTMLVideoElement) {
      shown.addEventListener("loadedmetadata", () => this.#shape({ width: shown.videoWidth, height: shown.videoHeight }));
      if (!matchMedia("(prefers-reduced-motion: reduce)").matches) void shown.play().catch(() => {});
    }
  }

  /** @param {Task} task */
  #facts(task) {
    const { facts, params } = task;
    const size = facts["width"] ? `${facts["width"]} × ${facts["height"]}` : "";
    const rows = /** @type {[string, string][]} */ ([
      ["Model", facts["ran"] ?? facts["model"] ?? ""], ["Seed", params["seed"] ?? facts["seed"] ?? ""], ["Words", params["prompt"] ?? params["text"] ?? ""],
      ["Camera", params["camera"] ?? ""], ["Size", size], ["Cost", task.credits ? `${task.credits} credits` : ""],
    ]).filter(([, value]) => String(value) !== "");
    const list = byId("facts");
    const seal = list.querySelector("[data-seal]");
    list.replaceChildren(...rows.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: String(value) })]));
    if (task.state === "SUCCEEDED" && task.outputs.length > 0) {
      if (seal instanceof HTMLElement && seal.dataset["seal"] === task.id) list.append(element("dt", { textContent: "Provenance" }), seal);
      else void this.#seal(task);
    }
    const notes = Array.isArray(facts["notes"]) ? facts["notes"] : [];
    byId("notes").replaceChildren(...notes.map((note) => element("li", { textContent: String(note) })));
  }

  /** @param {Task} task */
  async #seal(task) {
    const line = element("dd", { textContent: "Reading it." });
    line.dataset["seal"] = task.id;
    byId("facts").append(element("dt", { textContent: "Provenance" }), line);
    const found = await origin(task.id, 0).catch(() => null);
    const badge = element("span", { className: found?.intact ? "seal" : "seal broken" });
    badge.append(icon("i-seal"), element("span", { textContent: !found ? "This kind of file cannot carry it" : found.intact ? `Content Credentials: made by ${found.model || "a model"}, unchanged since` : "Content Credentials: changed since it was made" }));
    if (!found) badge.className = "quiet";
    line.replaceChildren(badge);
  }

  /** @param {Task} task */
  #actions(task) {
    const bar = byId("actions");
    const offered = actionsFor(task);
    const key = `${task.id} ${offered.map(([name]) => name).join()}`;
    if (bar.dataset["for"] === key) return;
    bar.dataset["for"] = key;
    bar.hidden = offered.length === 0;
    const download = task.outputs[0];
    const made = /** @type {HTMLElement[]} */ ([]);
    if (task.state === "SUCCEEDED" && download) {
      for (const [i, url] of task.outputs.entries()) {
        made.push(element("a", { href: near(url), download: "", textContent: task.outputs.length > 1 ? `Download ${i + 1}` : "Download" }));
      }
    }
    for (const [name, label] of offered) {
      const button = element("button", { type: "button", textContent: label });
      button.dataset["act"] = name;
      button.addEventListener("click", () => this.act(name, task, 0));
      made.push(button);
    }
    bar.replaceChildren(...made);
  }

  /** Two results over each other. @param {Task} other */
  compare(other) {
    const mine = this.task?.outputs[0];
    const theirs = other.outputs[0];
    if (!mine || !theirs) return;
    const view = byId("view");
    const [left, right] = [mine, theirs].map((url) => mediaElement(near(url), mediumOf(url), ""));
    if (!left || !right) return;
    right.classList.add("right");
    for (const each of [left, right]) if (each instanceof HTMLVideoElement) each.controls = false;
    view.replaceChildren(left, right, element("div", { className: "divider" }));
    if (left instanceof HTMLVideoElement && right instanceof HTMLVideoElement) together(left, right);
    byId("compare-name").textContent = titleOf(other);
    byId("compare-bar").hidden = false;
    this.#split();
    byId("compare").focus();
  }

  #split() {
    byId("view").style.setProperty("--split", `${/** @type {HTMLInputElement} */ (byId("compare")).value}%`);
  }

  endComparison() {
    if (byId("compare-bar").hidden) return;
    byId("compare-bar").hidden = true;
    if (this.task?.state === "SUCCEEDED") this.#finished(this.task);
  }
}

/** @param {Task} task @returns {[string, string][]} */
function actionsFor(task) {
  if (task.state === "PENDING" || task.state === "THROTTLED" || task.state === "RUNNING") return [["cancel", "Cancel"]];
  const again = /** @type {[string, string]} */ (["again", "Change and make again"]);
  if (task.state === "CANCELLED") return [again];
  if (task.state !== "SUCCEEDED") return [again, ["delete", "Delete"]];
  const first = task.outputs[0];
  const medium = first ? mediumOf(first) : "file";
  const found = /** @type {[string, string][]} */ ([]);
  if (task.params["draft"]) found.push(["full", "Draw it in full"]);
  if (medium === "image") found.push(["begin", "Begin a clip with it"], ["larger", "Twice as large"], ["compare", "Compare"]);
  if (medium === "video") found.push(["edit", "Edit it"], ["extend", "Go on from it"], ["larger", "Twice as large"], ["smoother", "60 frames a second"], ["sounded", "Add sound"], ["compare", "Compare"]);
  return [...found, again, ["delete", "Delete"]];
}

/** @param {string} url @param {"image" | "video" | "audio" | "file"} medium @param {string} alt */
function mediaElement(url, medium, alt) {
  if (medium === "image") return element("img", { src: url, alt });
  if (medium === "video") {
    const video = element("video", { src: url, controls: true, loop: true, muted: true, playsInline: true, preload: "auto" });
    video.setAttribute("aria-label", alt);
    return video;
  }
  if (medium === "audio") return element("audio", { src: url, controls: true, preload: "auto" });
  return element("p", { id: "empty", textContent: "Browsers cannot show this kind of file; download it." });
}

/** @param {HTMLVideoElement} left @param {HTMLVideoElement} right */
function together(left, right) {
  right.loop = false;
  left.addEventListener("timeupdate", () => {
    if (Math.abs(left.currentTime - right.currentTime) > 0.08) right.currentTime = Math.min(left.currentTime, right.duration || left.currentTime);
    if (right.paused && !left.paused) void right.play().catch(() => {});
  });
  void left.play().catch(() => {});
}
