// Action to photon: how long after a key or mouse change the first picture that answers it is on the screen.

/** @typedef {import("./link.js").ShownFrame} ShownFrame */
/** @typedef {{input: number, frame: number, ms: number}} Sample */
/** @typedef {{shownFps: number, a2pP50: number | null, a2pP95: number | null, samples: number}} Figures */

const KEPT_SAMPLES = 240; // the figures speak of the last minute or so, not of the whole session
const KEPT_INPUTS = 600;
const FPS_WINDOW_MS = 2000;

export class PhotonMeter {
  constructor() {
    /** @type {Map<number, number>} */
    this.sentAt = new Map();
    /** @type {Sample[]} */
    this.samples = [];
    /** @type {number[]} */
    this.shownAt = [];
    /** @type {ShownFrame | null} */
    this.lastFrame = null;
    this.answered = 0;
  }

  /** Forget everything: another connection counts from here. */
  restart() {
    Object.assign(this, new PhotonMeter());
  }

  /**
   * An input left the page.
   * @param {number} seq
   * @param {number} at when the person acted
   */
  sent(seq, at) {
    this.sentAt.set(seq, at);
    if (this.sentAt.size > KEPT_INPUTS) this.sentAt.delete(/** @type {number} */ (this.sentAt.keys().next().value));
  }

  /**
   * A picture reached the screen. Every input that it answers first gives a sample, so that inputs that shared a
   * picture all count, the one that waited longest too. Returns the longest of them, or null when there is none.
   * @param {ShownFrame} shown
   * @returns {number | null}
   */
  shown(shown) {
    this.lastFrame = shown;
    this.shownAt.push(shown.at);
    this.shownAt = this.shownAt.filter((at) => at > shown.at - FPS_WINDOW_MS);
    /** @type {number | null} */
    let longest = null;
    for (const [seq, at] of this.sentAt) {
      if (seq > shown.input) break;
      this.sentAt.delete(seq);
      const ms = shown.at - at;
      longest = Math.max(longest ?? 0, ms);
      this.samples.push({ input: seq, frame: shown.frame, ms });
    }
    this.answered = Math.max(this.answered, shown.input);
    if (this.samples.length > KEPT_SAMPLES) this.samples.splice(0, this.samples.length - KEPT_SAMPLES);
    return longest;
  }

  /**
   * @param {number} now
   * @returns {Figures}
   */
  figures(now) {
    const times = this.samples.map((sample) => sample.ms).sort((a, b) => a - b);
    const recent = this.shownAt.filter((at) => at > now - FPS_WINDOW_MS);
    const span = recent.length > 1 ? recent[recent.length - 1] - recent[0] : 0;
    return {
      shownFps: span > 0 ? ((recent.length - 1) * 1000) / span : 0,
      a2pP50: quantile(times, 0.5),
      a2pP95: quantile(times, 0.95),
      samples: times.length,
    };
  }
}

/**
 * The nearest-rank quantile of sorted numbers, or null when there are none.
 * @param {number[]} sorted
 * @param {number} q from 0 to 1
 */
export function quantile(sorted, q) {
  return sorted.length === 0 ? null : sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)];
}
