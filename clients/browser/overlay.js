// One block of figures over the picture, and nothing in it that was not measured.

import { element } from "./states.js";

/** @typedef {[string, string, string?]} Row name, value, what the name means */

/**
 * @param {import("./worldstream.js").WorldStream} stream
 * @param {import("./link.js").Traffic | null} traffic
 * @returns {Row[]}
 */
export function rowsFor(stream, traffic) {
  const { stats, photon, state, welcome } = stream;
  const figures = photon.figures(performance.now());
  const names = { webrtc: "WebRTC", websocket: "WebSocket" };
  const both = figures.a2pP50 !== null && figures.a2pP95 !== null;
  return [
    ["Shown", figures.shownFps > 0 ? `${figures.shownFps.toFixed(1)} fps` : "–", "pictures a second on this screen"],
    ["Key to picture", both ? `${round(figures.a2pP50)} / ${round(figures.a2pP95)} ms` : "press a key", "median and 95th percentile, measured on this page"],
    ["Model", stats ? `${stats.model_ms.toFixed(1)} ms` : "–", "one picture, on the server"],
    ["Engine", stats ? `${stats.engine}, ${stats.steps} ${stats.steps === 1 ? "step" : "steps"}` : "–"],
    ["Bit rate", traffic ? bits(traffic.bitrateBps) : "–"],
    ["Loss", traffic === null || traffic.lossPercent === null ? "–" : `${traffic.lossPercent.toFixed(1)} %`, "video packets"],
    ["Transport", names[state.transport]],
    ["Frame", photon.lastFrame ? String(photon.lastFrame.frame) : "–"],
    ["Seed", String(stream.world?.seed ?? stream.wish.seed)],
    ["Session", welcome?.session ?? "–"],
  ];
}

/** @param {number | null} ms */
function round(ms) {
  return ms === null ? "–" : String(Math.round(ms));
}

/** @param {number} bps */
function bits(bps) {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mb/s` : `${Math.round(bps / 1000)} kb/s`;
}

/**
 * @param {HTMLElement} list a `dl`
 * @param {Row[]} rows
 */
export function drawOverlay(list, rows) {
  if (list.childElementCount !== rows.length * 2) {
    list.replaceChildren(...rows.flatMap(([name, , meaning]) => [element("dt", { textContent: name, title: meaning ?? "" }), element("dd")]));
  }
  const values = list.querySelectorAll("dd");
  rows.forEach(([, value], index) => {
    if (values[index] && values[index].textContent !== value) values[index].textContent = value;
  });
}
