// Wires the page: the landing, the stream, the controls and what lies over the picture.

import { readAddress, rollSeed, writeAddress } from "./address.js";
import { Controls } from "./controls.js";
import { expose } from "./diagnostics.js";
import { FAR, FirstImage } from "./firstImage.js";
import { Landing } from "./landing.js";
import { Recorder, save } from "./record.js";
import { Stage } from "./stage.js";
import { StateCard } from "./states.js";
import { TimelineStrip } from "./timeline.js";
import { WorldStream } from "./worldstream.js";

/** @typedef {import("./states.js").StreamState} StreamState */

const TICK_MS = 250;
const STATUS_EVERY_MS = 4000;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

let address = readAddress(location.search);
const { watch: onlyWatches } = address;
/** @type {import("./link.js").Traffic | null} */
let traffic = null;
/** @type {import("./states.js").StateName} */
let before = "idle";

const stream = new WorldStream(byId("picture"));
const recorder = new Recorder();
const landing = new Landing({
  onEnter: (wish) => enter({ ...wish, watch: onlyWatches, image: firstImage.id }),
  onWatch: (wish) => enter({ ...wish, watch: true }),
  onFile: (file) => void openWalk(file),
  hasImage: () => firstImage.id !== null,
});
const firstImage = new FirstImage({
  send: (file, signal) => stream.upload(file, signal),
  onStage: () => stream.state.name !== "idle",
  onStart: startFrom,
  onTold: (text) => stage.toast(text),
  onCaption: (caption, before) => {
    if (["", before].includes(landing.prompt.value.trim())) landing.fill({ prompt: caption }); // words of one's own stay
  },
});
const stage = new Stage({ onDeed: (deed) => deeds[deed](), onWords: changeWords });
const card = new StateCard(byId("card"), byId("announcer"), (action) => actions[action]());
const strip = new TimelineStrip({
  onRewind: (frame) => goBack(() => stream.rewind(frame)),
  onBranch: (branch, words) => goBack(() => stream.branch(branch), `Back on ${words}.`),
  onTakeOver: () => takeOver(),
});
const controls = new Controls({
  surface: byId("picture"),
  sticks: byId("sticks"),
  active: () => stream.state.name === "live" && !stream.state.watching,
  send: (held, at) => void stream.hold(held, at),
  onBusy: (busy) => stage.setBusy(busy),
  onCapture: (captured) => document.body.classList.toggle("captured", captured),
});

// -- coming and going ---------------------------------------------------------------------------------------------

/** @param {{seed: number, prompt: string, watch?: boolean, replay?: string, image?: string | null}} wish */
function enter(wish) {
  const { image, ...place } = wish; // a picture is kept for an hour: it is not part of an address
  address = { ...address, replay: "", ...place };
  const url = location.pathname + writeAddress(address);
  if (history.state?.walking) history.replaceState({ walking: true }, "", url);
  else history.pushState({ walking: true }, "", url);
  stage.tidy();
  const { transport, codec, watch, replay } = address;
  stream.enter({ ...wish, transport, codec, watch, replay });
}

function goHome() {
  if (history.state?.walking) history.back();
  else stream.forget();
}

addEventListener("popstate", () => {
  address = { ...readAddress(location.search), measure: address.measure, look: address.look };
  if (history.state?.walking) enter({ seed: address.seed ?? rollSeed(), prompt: address.prompt, replay: address.replay });
  else stream.forget();
});

const actions = {
  again: () => enter({ seed: stream.wish.seed, prompt: stream.wish.prompt, image: stream.wish.image }),
  leave: () => (["connecting", "queued"].includes(stream.state.name) ? goHome() : stream.leave()),
  home: goHome,
  save: () => recorder.recording && save(recorder.recording),
};

const deeds = {
  describe: () => {
    controls.release();
    stage.openWords(stream.wish.prompt);
  },
  reset: () => {
    stream.restart();
    stage.toast("Back to the start of this world.");
  },
  picture: () => {
    controls.release();
    firstImage.choose();
  },
  rewind: () => strip.toggle(),
  back: () => {
    if (stream.state.watching) return stage.toast("Only whoever walks can go back.");
    const seconds = strip.back();
    stage.toast(seconds > 0 ? `${seconds} s back. The way that you left is kept.` : "This is the beginning.");
    strip.toggle(true);
  },
  record: () => void toggleRecording(),
  share: () => void share(),
  measure: () => remember({ measure: !address.measure }),
  expand: () => void (document.fullscreenElement ? document.exitFullscreen() : byId("stage").requestFullscreen()).catch(() => {}),
  help: () => stage.toggleLegend(),
  adjust: () => stage.togglePanel(),
  leave: () => stream.leave(),
};

/** @param {string} prompt */
function changeWords(prompt) {
  stream.prompt(prompt);
  remember({ prompt });
}

/** A picture that came while a world is on the screen. @param {import("./upload.js").StartImage} sent */
function startFrom(sent) {
  if (stream.state.name !== "live" || stream.state.watching) return stage.toast("A picture can start a world when it is your turn to walk.");
  stream.reset(stream.wish.seed, sent.caption, sent.image);
  remember({ prompt: sent.caption });
  stage.toast([`A new world, from your picture: ${sent.caption}.`, sent.familiar ? "" : FAR, ...sent.notes].filter(Boolean).join(" "));
}

/** Settings and words go into the address, so that this view can be shared. @param {Partial<import("./address.js").Address>} change */
function remember(change) {
  address = { ...address, ...change };
  history.replaceState(history.state, "", location.pathname + writeAddress(address));
  byId("stage").dataset["look"] = address.look;
  byId("overlay").hidden = !address.measure;
  stage.press("measure", address.measure);
}

async function share() {
  const { seed, prompt } = stream.wish;
  const { shareWalk } = await import("./walks.js"); // as all of that file: seldom, so not with the page
  const kept = stream.timeline ? await shareWalk(stream.base, stream.session) : null; // a visitor who watches has no walk
  const link = new URL(location.pathname + writeAddress({ seed, prompt, replay: kept?.id }), location.href).href;
  const name = kept ? "this walk" : "this world";
  const later = kept ? ` Whoever opens it sees it again and can take over. It is kept for ${kept.days} days; then it opens the same world.` : "";
  try {
    await navigator.clipboard.writeText(link);
    const without = !kept && stream.wish.image ? " It has the words and the seed, not the picture." : "";
    stage.toast(`The link to ${name} is copied.${without}${later}`);
  } catch {
    stage.toast(`The link to ${name}: ${link}`); // the clipboard is closed to pages without https
  }
}

/** @param {() => void} go @param {string} [words] */
function goBack(go, words) {
  if (stream.state.watching) return stage.toast("Only whoever walks can go back.");
  go();
  if (words) stage.toast(words);
}

function takeOver() {
  stream.takeOver();
  byId("stage").focus();
}

/** A log that somebody kept, drawn again. @param {File} file */
async function openWalk(file) {
  const line = byId("status");
  try {
    line.textContent = `Reading ${file.name}.`;
    const { bringWalk } = await import("./walks.js");
    const { id, seed, prompt, notes } = await bringWalk(stream.base, file);
    landing.fill({ seed, prompt });
    enter({ seed, prompt, replay: id });
    if (notes.length > 0) stage.toast(notes.join(" "));
  } catch (problem) {
    landing.complain(/** @type {Error} */ (problem).message);
  }
}

async function toggleRecording() {
  if (!Recorder.possible) return stage.toast("This browser cannot record.");
  if (!recorder.active) {
    const name = [stream.wish.prompt.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 48), stream.wish.seed].filter(Boolean).join("-");
    recorder.start(stream.picture.element, `worldstream-${name}`);
    return;
  }
  const recording = await recorder.stop();
  if (recording) save(recording);
  stage.toast("The recording is saved to your downloads.");
}

// -- states -------------------------------------------------------------------------------------------------------

stream.addEventListener("state", () => {
  const { name } = stream.state;
  const changed = name !== before;
  if (changed) arrive(name);
  before = name;
  draw();
});

/** @param {StreamState["name"]} name */
function arrive(name) {
  document.body.dataset["state"] = name;
  byId("landing").hidden = name !== "idle";
  byId("stage").hidden = name === "idle";
  if (name === "idle") byId("enter").focus();
  if (before === "idle") byId("stage").focus();
  if (name === "connecting" && before !== "connecting") controls.restart();
  if (name === "reconnecting") controls.restart();
  if (name === "live" && (before === "connecting" || before === "queued")) {
    stage.toggleLegend(!stream.state.watching);
    stage.press("measure", address.measure);
  }
  if (!["live", "paused"].includes(name)) {
    if (document.pointerLockElement) document.exitPointerLock();
    stage.tidy();
    strip.forget();
    void recorder.stop().then(draw); // the picture it recorded is gone; what it has is kept
  }
}

function draw() {
  const seconds = (performance.now() - stream.state.since) / 1000;
  const around = { host: stream.base.host, prompt: stream.wish.prompt, seconds, recording: recorder.recording !== null, everShown: stream.everShown };
  card.show(stream.state, around);
  stage.tellRecording(recorder.active ? recorder.seconds(performance.now()) : null);
  if (address.measure) void import("./overlay.js").then(({ drawOverlay, rowsFor }) => drawOverlay(byId("overlay"), rowsFor(stream, traffic)));
}

stream.addEventListener("world", () => {
  const { world } = stream;
  if (!world) return;
  stage.tellWords(world);
  byId("picture").setAttribute("aria-label", `The world, drawn as you walk: ${world.prompt || "no words"}`);
});
stream.addEventListener("timeline", () => {
  const { timeline } = stream;
  if (!timeline) return;
  const replayed = strip.timeline !== null && strip.timeline.replay !== null;
  strip.tell(timeline);
  /** @type {HTMLAnchorElement} */ (byId("keep-log")).href = new URL(`api/sessions/${encodeURIComponent(stream.session)}/log`, stream.base).href;
  if (timeline.replay !== null && !replayed) byId("announcer").textContent = "This walk was kept, and is drawn again. Walk, or press Take over, and it is yours.";
  if (timeline.replay === null && address.replay) remember({ replay: "", seed: stream.wish.seed, prompt: stream.wish.prompt });
  if (timeline.replay === null && replayed) stage.toast("It is your walk from here.");
});
stream.addEventListener("notice", (event) => stage.toast(/** @type {CustomEvent} */ (event).detail.message));
document.addEventListener("visibilitychange", () => stream.setHidden(document.visibilityState === "hidden"));
addEventListener("pagehide", () => stream.forget()); // say goodbye, so that the next in line need not wait for a timeout
setInterval(draw, TICK_MS);
setInterval(async () => (traffic = (await stream.link?.traffic()) ?? null), 1000);

// -- settings -----------------------------------------------------------------------------------------------------

/** @type {HTMLSelectElement} */
const look = byId("set-look");
/** @type {HTMLSelectElement} */
const transport = byId("set-transport");
/** @type {HTMLInputElement} */
const mouse = byId("set-mouse");
look.value = address.look;
transport.value = address.transport;
mouse.value = localStorage.getItem("mouse-speed") ?? "1";
controls.mouseSpeed = Number(mouse.value);
look.addEventListener("change", () => remember({ look: look.value === "sharp" ? "sharp" : "smooth" }));
transport.addEventListener("change", () => remember({ transport: /** @type {"auto"} */ (transport.value) }));
mouse.addEventListener("input", () => {
  controls.mouseSpeed = Number(mouse.value);
  localStorage.setItem("mouse-speed", mouse.value);
});

// -- landing ------------------------------------------------------------------------------------------------------

async function askServer() {
  if (stream.state.name !== "idle") return;
  const line = byId("status");
  try {
    if (byId("facts").textContent === "") {
      const response = await fetch("api/world");
      const info = await response.json();
      if (!response.ok) throw new Error(info.error?.message);
      landing.describe(info);
      byId("stage").style.setProperty("--aspect", String(info.width / info.height));
    }
    landing.tell(await (await fetch("api/status")).json());
  } catch {
    line.dataset["tone"] = "trouble";
    line.textContent = `The server is not reached at ${stream.base.host}. Start it there with: worldstream serve. This page looks again by itself.`;
  }
}

landing.fill({ seed: address.seed ?? rollSeed(), prompt: address.prompt });
remember({});
history.replaceState(null, "", location.href); // a page that was reloaded while walking begins at the landing
if (address.replay) enter({ seed: address.seed ?? rollSeed(), prompt: address.prompt, replay: address.replay });
void askServer();
setInterval(() => void (document.hidden ? null : askServer()), STATUS_EVERY_MS);
void landing.showRecordings("app/recordings");
expose(stream);
