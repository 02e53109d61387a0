// Recording what is on the screen into a file that the person keeps.

const TYPES = ["video/mp4;codecs=avc1.42E01E", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const BITS_PER_S = 4_000_000;

/** @typedef {{url: string, name: string, seconds: number}} Recording */

export class Recorder {
  constructor() {
    /** @type {MediaRecorder | null} */
    this.recorder = null;
    this.startedAt = 0;
    /** @type {Recording | null} the newest finished one; kept until the next begins */
    this.recording = null;
  }

  static get possible() {
    return typeof MediaRecorder !== "undefined" && "captureStream" in HTMLCanvasElement.prototype;
  }

  get active() {
    return this.recorder !== null;
  }

  /** Seconds since recording began. @param {number} now */
  seconds(now) {
    return this.active ? (now - this.startedAt) / 1000 : 0;
  }

  /**
   * @param {HTMLVideoElement | HTMLCanvasElement} source
   * @param {string} name file name without its ending
   */
  start(source, name) {
    const stream = source instanceof HTMLCanvasElement ? source.captureStream() : /** @type {MediaStream} */ (source.srcObject);
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: BITS_PER_S });
    /** @type {Blob[]} */
    const parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => data.size > 0 && parts.push(data));
    recorder.addEventListener("stop", () => {
      if (this.recording) URL.revokeObjectURL(this.recording.url);
      const type = recorder.mimeType || "video/webm";
      const ending = type.includes("mp4") ? "mp4" : "webm";
      const url = URL.createObjectURL(new Blob(parts, { type }));
      this.recording = { url, name: `${name}.${ending}`, seconds: (performance.now() - this.startedAt) / 1000 };
    });
    this.startedAt = performance.now();
    this.recorder = recorder;
    recorder.start(1000); // in pieces, so that a crash of the tab's encoder loses a second and not all
  }

  /** Resolves with what was recorded, or null when nothing was. */
  async stop() {
    const { recorder } = this;
    if (recorder === null) return null;
    this.recorder = null;
    if (recorder.state !== "inactive") {
      const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
      recorder.stop();
      await stopped;
    }
    return this.recording;
  }
}

/** Hand a recording to the browser's downloads. @param {Recording} recording */
export function save(recording) {
  const link = Object.assign(document.createElement("a"), { href: recording.url, download: recording.name });
  link.click();
}
