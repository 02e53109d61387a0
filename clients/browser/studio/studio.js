// The Studio: wires what goes in, the result and the shelf; the address says what is shown.

import { Refused, Unreached } from "../link.js";
import { OrderForm } from "./order.js";
import { Result } from "./result.js";
import { Shelf } from "./shelf.js";
import { takeAnywhere } from "./slots.js";
import { create, fetched, offers, one, remove, storeKey, storedKey, watch } from "./tasks.js";

/** @typedef {import("./tasks.js").Task} Task */

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

let watching = new AbortController();
/** @type {Task | null} the result that another one is chosen for, to compare */
let comparing = null;

const form = new OrderForm((order) => void make(order), trouble, () => visit(result.task?.id ?? "", true));
const result = new Result({ act: (what, task, index) => void act(what, task, index).catch(trouble) });
const shelf = new Shelf((task) => choose(task), trouble);
takeAnywhere(() => form.slots, (text) => (byId("order-trouble").textContent = text));
byId("compare-end").addEventListener("click", () => result.endComparison());

const key = /** @type {HTMLInputElement} */ (byId("key"));
key.value = storedKey();
key.addEventListener("change", () => {
  storeKey(key.value.trim());
  void shelf.load();
  void open();
});

/** @param {unknown} problem */
function trouble(problem) {
  const line = byId("order-trouble");
  if (problem instanceof Unreached) line.textContent = "The server is not reached. Start it with: make serve";
  else if (problem instanceof Refused) line.textContent = `${problem.trouble.message} ${problem.trouble.remedy}`;
  else line.textContent = problem instanceof Error ? problem.message : String(problem);
  if (problem instanceof Refused && /key/i.test(problem.trouble.message)) /** @type {HTMLDetailsElement} */ (byId("access")).open = true;
}

/** What the address says. */
function asked() {
  const query = new URLSearchParams(location.search);
  return { task: query.get("task") ?? "", make: query.get("make") ?? "clip" };
}

/** @param {string} task @param {boolean} [replace] */
function visit(task, replace = false) {
  const query = new URLSearchParams({ make: form.make, ...(task ? { task } : {}) });
  history[replace ? "replaceState" : "pushState"](null, "", `${location.pathname}?${query}`);
}

/** @param {import("./order.js").Order} order */
async function make(order) {
  try {
    const task = await create(order);
    byId("announcer").textContent = "It is in line.";
    shelf.update(task);
    choose(task);
    byId("view").scrollIntoView({ block: "nearest" });
  } catch (problem) {
    trouble(problem);
  }
}

/** @param {Task} task */
function choose(task) {
  if (comparing && comparing.id !== task.id && task.outputs.length > 0) {
    comparing = null;
    return result.compare(task);
  }
  comparing = null;
  if (asked().task !== task.id) visit(task.id);
  show(task);
}

/** @param {Task} task */
function show(task) {
  watching.abort();
  watching = new AbortController();
  result.show(task);
  shelf.mark(task.id);
  if (["SUCCEEDED", "FAILED", "CANCELLED"].includes(task.state)) return;
  void watch(task.id, watching.signal, (event) => {
    result.show(event);
    shelf.update({ ...event, params: task.params });
  });
}

/** @param {string} what @param {Task} task @param {number} index */
async function act(what, task, index) {
  const url = task.outputs[index];
  switch (what) {
    case "cancel":
    case "delete":
      watching.abort();
      await remove(task.id);
      if (what === "delete") return gone(task.id);
      shelf.drop(task.id); // the server forgets it; its order stays on the page, to be changed and made again
      visit("", true);
      return result.show({ ...task, state: "CANCELLED" });
    case "again":
      form.recall(task.kind, task.params);
      return byId("prompt").focus();
    case "full":
      return make({ kind: task.kind, params: { ...task.params, draft: false }, inputs: {} });
    case "compare":
      comparing = task;
      byId("state").textContent = "Choose another one from the shelf to compare it with.";
      return byId("shelf").scrollIntoView({ block: "nearest" });
  }
  if (!url) return;
  const file = await fetched(url);
  if (what === "edit") return form.use(typed(file, "video/mp4"), "edit", "video");
  if (what === "extend") return form.use(typed(file, "video/mp4"), "clip", "extend");
  if (what === "begin") return form.use(typed(file, "image/png"), "clip", "first");
  const { send } = await import("./tasks.js");
  const sent = await send(file, file.name);
  const picture = file.type.startsWith("image/");
  if (what === "larger") return make({ kind: picture ? "upscale_image" : "upscale_video", params: { factor: 2 }, inputs: { [picture ? "image" : "video"]: sent } });
  if (what === "smoother") return make({ kind: "frame_rate", params: { rate: "60" }, inputs: { video: sent } });
  if (what === "sounded") return make({ kind: "soundtrack", params: { seconds: lengthShown(), mux: true }, inputs: { video: sent } });
}

/** Seconds of the video that is large now. */
function lengthShown() {
  const video = document.querySelector("#view video");
  return video instanceof HTMLVideoElement && Number.isFinite(video.duration) ? video.duration : 5;
}

/** @param {File} file @param {string} type what it is where the server did not say */
function typed(file, type) {
  return new File([file], file.name, { type: file.type || type });
}

/** @param {string} id */
function gone(id) {
  shelf.drop(id);
  visit("", true);
  byId("view").replaceChildren(Object.assign(document.createElement("p"), { id: "empty", textContent: "It is deleted." }));
  for (const part of ["facts", "notes", "actions"]) byId(part).replaceChildren();
  byId("actions").hidden = true;
  byId("state").textContent = "";
}

/** Show what the address names. */
async function open() {
  const { task, make: wanted } = asked();
  if (["clip", "still", "edit", "sound", "speech"].includes(wanted)) form.show(/** @type {import("./order.js").Make} */ (wanted));
  if (!task) return;
  try {
    show(await one(task));
  } catch (problem) {
    trouble(problem);
  }
}

addEventListener("popstate", () => void open());
void shelf.load();
void open();
void offers().then(({ voices }) => form.offer(voices)).catch(() => {});
document.documentElement.dataset["ready"] = "";
