// Every state that the page can be in, with its own words, and the card or banner that says them.

/** @typedef {"idle"|"connecting"|"queued"|"live"|"paused"|"reconnecting"|"offline"|"ended"|"failed"} StateName */
/**
 * @typedef {object} StreamState
 * @property {StateName} name
 * @property {"server" | "media" | "frame"} step what connecting waits for
 * @property {"webrtc" | "websocket"} transport the one in use, or being tried
 * @property {boolean} fellBack WebRTC was tried and gave nothing
 * @property {number | null} place in line
 * @property {boolean} watching watches another player's world, and did not ask for a turn
 * @property {number} attempt of reconnecting, from 1
 * @property {import("./link.js").Trouble | null} trouble why it ended or failed
 * @property {number} since `performance.now()` when this state began
 */
/** @typedef {{host: string, prompt: string, seconds: number, recording: boolean, everShown: boolean}} Surroundings */
/** @typedef {"again" | "leave" | "home" | "save"} ActionName */
/**
 * @typedef {object} Words
 * @property {"plain" | "wait" | "trouble"} tone
 * @property {string} title
 * @property {string[]} lines
 * @property {string} [command] what to run
 * @property {{name: string, done: boolean, now: boolean}[]} [steps]
 * @property {[ActionName, string][]} actions the first is the main one
 * @property {string} [id] to report
 * @property {boolean} [counts] show the seconds
 */

/** @type {StreamState} */
export const IDLE = { name: "idle", step: "server", transport: "webrtc", fellBack: false, place: null, watching: false, attempt: 0, trouble: null, since: 0 };

const STEPS = /** @type {const} */ (["server", "media", "frame"]);
const STEP_NAMES = { server: "Server", media: "Media", frame: "First frame" };

/**
 * What to say, or null where the picture speaks for itself.
 * @param {StreamState} state
 * @param {Surroundings} around
 * @returns {Words | null}
 */
export function wordsFor(state, around) {
  switch (state.name) {
    case "connecting":
      return {
        tone: "plain",
        title: "Entering the world",
        lines: [around.prompt, state.fellBack ? "WebRTC showed no picture, so the page goes on over WebSocket." : ""].filter(Boolean),
        steps: STEPS.map((name, index) => ({ name: STEP_NAMES[name], done: index < STEPS.indexOf(state.step), now: name === state.step })),
        actions: [["leave", "Cancel"]],
        counts: true,
      };
    case "queued":
      return {
        tone: "wait",
        title: state.place === null ? "You are in line" : `You are number ${state.place} in line`,
        lines: [around.everShown ? "Somebody is walking now, and you are watching. Your world starts by itself." : "Somebody is walking now. Their picture appears here, and your world starts by itself."],
        actions: [["leave", "Leave the line"]],
      };
    case "paused":
      return {
        tone: "wait",
        title: "Paused",
        lines: state.watching
          ? ["Nobody is walking at the moment. The picture goes on by itself."]
          : ["This tab was hidden. The world goes on by itself when you look at it.", "After a minute the turn goes to whoever waits."],
        actions: [],
      };
    case "reconnecting":
      return {
        tone: "wait",
        title: "The connection was lost",
        lines: [`Connecting again by itself${state.attempt > 0 ? `, try ${state.attempt}` : ""}. The world starts again from its seed.`],
        actions: [["leave", "Leave"]],
        counts: true,
      };
    case "offline":
      return {
        tone: "trouble",
        title: "The server is not reached",
        lines: [`Nothing answers at ${around.host}. Start it on that machine:`, "This page looks again every 3 seconds and goes in by itself."],
        command: "worldstream serve",
        actions: [["home", "Go back"]],
        counts: true,
      };
    case "ended":
      return {
        tone: "plain",
        title: "The walk is over",
        lines: [state.trouble?.message ?? "", state.trouble?.remedy ?? "", around.recording ? "Your recording is ready." : ""].filter(Boolean),
        actions: [["again", "Enter again"], ...(around.recording ? [/** @type {[ActionName, string]} */ (["save", "Save recording"])] : []), ["home", "Choose another world"]],
      };
    case "failed":
      return {
        tone: "trouble",
        title: state.trouble?.message ?? "The session failed.",
        lines: [state.trouble?.remedy ?? ""].filter(Boolean),
        actions: [["again", "Try again"]],
        id: state.trouble?.id ?? "",
      };
    default:
      return null;
  }
}

/**
 * What a screen reader hears when the state changes.
 * @param {StreamState} state
 * @param {Words | null} words
 */
export function spoken(state, words) {
  if (state.name === "live") return state.watching ? "Watching." : "You are in the world. W walks forward, question mark shows the keys.";
  return words ? [words.title, ...words.lines, words.command ?? ""].filter(Boolean).join(". ").replaceAll("..", ".") : "";
}

/** Shows the words of a state. */
export class StateCard {
  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} announcer a polite live region
   * @param {(action: ActionName) => void} onAction
   */
  constructor(root, announcer, onAction) {
    this.root = root;
    this.announcer = announcer;
    this.onAction = onAction;
    this.drawn = "";
    this.spokenFor = "";
  }

  /**
   * @param {StreamState} state
   * @param {Surroundings} around
   */
  show(state, around) {
    const words = wordsFor(state, around);
    const drawing = JSON.stringify(words);
    if (drawing !== this.drawn) this.#draw(state, words);
    this.drawn = drawing;
    const clock = this.root.querySelector(".seconds");
    if (clock) clock.textContent = `${Math.floor(around.seconds)} s`;
    const topic = `${state.name} ${state.place}`;
    if (topic === this.spokenFor) return;
    this.spokenFor = topic;
    this.announcer.textContent = spoken(state, words);
  }

  /** @param {StreamState} state @param {Words | null} words */
  #draw(state, words) {
    const focused = this.root.contains(document.activeElement);
    this.root.hidden = words === null;
    this.root.replaceChildren();
    if (words === null) return;
    this.root.dataset["tone"] = words.tone;
    const title = element("h2", { textContent: words.title, id: "card-title" });
    if (words.counts) title.append(" ", element("span", { className: "seconds" }));
    this.root.append(title);
    words.lines.forEach((line, index) => {
      this.root.append(element("p", { textContent: line }));
      if (index === 0 && words.command) this.root.append(element("code", { textContent: words.command }));
    });
    if (words.steps) this.root.append(stepList(words.steps));
    const row = element("div", { className: "actions" });
    words.actions.forEach(([action, label], index) => {
      const main = index === 0 && ["ended", "failed"].includes(state.name);
      const button = element("button", { type: "button", textContent: label, className: main ? "main" : "" });
      button.addEventListener("click", () => this.onAction(action));
      row.append(button);
    });
    if (words.actions.length > 0) this.root.append(row);
    if (words.id) this.root.append(element("p", { className: "report", textContent: `To report: ${words.id}` }));
    // The keyboard should find the one thing to do where the state leaves nothing else, and keep its place otherwise.
    if (focused || state.name === "ended" || state.name === "failed") row.querySelector("button")?.focus();
  }
}

/** @param {{name: string, done: boolean, now: boolean}[]} steps */
function stepList(steps) {
  const list = element("ol", { className: "steps" });
  for (const step of steps) {
    const item = element("li", { textContent: step.name, className: step.done ? "done" : step.now ? "now" : "" });
    item.append(element("span", { className: "quiet", textContent: step.done ? "reached" : step.now ? "waiting" : "next" }));
    list.append(item);
  }
  return list;
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} [properties]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
