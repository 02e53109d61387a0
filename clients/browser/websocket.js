// WebSocket: pictures as binary frames, JPEG anywhere, H.264 through WebCodecs where the page is a secure context.

import { KIND_JPEG, decode, decodePicture, encode, hello } from "./protocol.js";
import { Unreached, answers } from "./link.js";

/** @typedef {import("./link.js").Link} Link */
/** @typedef {import("./link.js").LinkEvents} LinkEvents */
/** @typedef {import("./protocol.js").Picture} Picture */

const H264_CODEC = "avc1.42001f"; // constrained baseline 3.1, what the server encodes
const MAX_WAITING = 4; // pictures that wait to be decoded; a fifth means that we are late, so older ones go

/** True where the browser lets a page decode H.264 itself. */
export function canDecodeH264() {
  return typeof VideoDecoder !== "undefined" && globalThis.isSecureContext;
}

/** Draws pictures on a canvas and tells when each was shown. */
class Screen {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Pick<LinkEvents, "onPicture" | "onShown">} events
   */
  constructor(canvas, events) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.events = events;
    this.newest = -1;
  }

  /**
   * @param {ImageBitmap | VideoFrame} image
   * @param {number} width
   * @param {number} height
   * @param {Picture} picture
   */
  draw(image, width, height, picture) {
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.context.drawImage(image, 0, 0);
    image.close();
    this.newest = picture.frame;
    this.canvas.dataset["frame"] = String(picture.frame); // benchmarks read it beside the pixels
    const { frame, input, serverMs } = picture;
    // What is drawn now reaches the screen with the next animation frame, so that is when it is shown.
    requestAnimationFrame((at) => this.events.onShown({ frame, input, serverMs, at }));
    this.events.onPicture("websocket");
  }
}

/** Decodes JPEG, newest first: a picture that a newer one has overtaken is not worth drawing. */
class JpegDecoder {
  /** @param {Screen} screen */
  constructor(screen) {
    this.screen = screen;
    this.order = 0;
    this.drawn = 0;
  }

  /** @param {Picture} picture */
  async decode(picture) {
    const order = ++this.order;
    const blob = new Blob([/** @type {BlobPart} */ (picture.payload)], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(blob).catch(() => null);
    if (bitmap === null) return;
    if (order < this.drawn) return void bitmap.close();
    this.drawn = order;
    this.screen.draw(bitmap, bitmap.width, bitmap.height, picture);
  }

  close() {
    this.drawn = Infinity;
  }
}

/** Decodes H.264 with WebCodecs, one picture in, one picture out. */
class H264Decoder {
  /**
   * @param {Screen} screen
   * @param {() => void} askForKeyframe
   */
  constructor(screen, askForKeyframe) {
    this.screen = screen;
    this.askForKeyframe = askForKeyframe;
    /** @type {Map<number, Picture>} */
    this.waiting = new Map();
    this.needsKey = true;
    this.clock = 0;
    this.decoder = this.#fresh();
  }

  #fresh() {
    const decoder = new VideoDecoder({
      output: (image) => this.#output(image),
      error: () => this.#recover(),
    });
    decoder.configure({ codec: H264_CODEC, optimizeForLatency: true }); // no description: the stream is Annex B
    return decoder;
  }

  #recover() {
    this.waiting.clear();
    this.needsKey = true;
    if (this.decoder.state !== "closed") this.decoder.close();
    this.decoder = this.#fresh();
    this.askForKeyframe();
  }

  /** @param {Picture} picture */
  decode(picture) {
    if (this.decoder.state !== "configured") return;
    if (this.needsKey && !picture.keyframe) return;
    if (!picture.keyframe && this.decoder.decodeQueueSize > MAX_WAITING) return this.#recover();
    this.needsKey = false;
    const timestamp = ++this.clock; // only an id here: frame numbers start again at a reset
    this.waiting.set(timestamp, picture);
    const type = picture.keyframe ? "key" : "delta";
    this.decoder.decode(new EncodedVideoChunk({ type, timestamp, data: /** @type {BufferSource} */ (picture.payload) }));
  }

  /** @param {VideoFrame} image */
  #output(image) {
    const picture = this.waiting.get(image.timestamp);
    this.waiting.delete(image.timestamp);
    if (picture) this.screen.draw(image, image.displayWidth, image.displayHeight, picture);
    else image.close();
  }

  close() {
    if (this.decoder.state !== "closed") this.decoder.close();
  }
}

/**
 * Opens a connection; resolves when the socket is open. Raises Unreached.
 * @param {{base: URL, wish: import("./protocol.js").Wish, canvas: HTMLCanvasElement, events: LinkEvents, signal: AbortSignal}} options
 * @returns {Promise<Link>}
 */
export async function openWebSocket({ base, wish, canvas, events, signal }) {
  const url = new URL("api/socket", base);
  url.protocol = url.protocol.replace("http", "ws");
  const codec = wish.codec === "h264" && canDecodeH264() ? "h264" : "jpeg";
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let open = true;
  let bytes = 0;
  let measuredAt = performance.now();

  const send = (/** @type {import("./protocol.js").ClientMessage} */ message) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(encode(message));
  };
  const screen = new Screen(canvas, events);
  const jpeg = new JpegDecoder(screen);
  const h264 = codec === "h264" ? new H264Decoder(screen, () => send({ type: "keyframe" })) : null;
  const close = () => {
    if (!open) return;
    open = false;
    send({ type: "bye" });
    socket.close(1000);
    jpeg.close();
    h264?.close();
  };

  socket.addEventListener("message", ({ data }) => {
    if (!open) return;
    if (data instanceof ArrayBuffer) {
      bytes += data.byteLength;
      const picture = decodePicture(data);
      if (picture?.kind === KIND_JPEG) void jpeg.decode(picture);
      else if (picture) h264?.decode(picture);
      return;
    }
    const message = decode(data);
    if (message) events.onMessage(message);
  });
  signal.addEventListener("abort", close, { once: true });
  await opened(socket, base);
  events.onStep("server");
  send(hello({ ...wish, codec }));
  events.onStep("media");
  socket.addEventListener("close", ({ code }) => {
    if (!open) return;
    open = false;
    jpeg.close();
    h264?.close();
    events.onLost(code);
  });
  return {
    transport: "websocket",
    send,
    traffic: async () => {
      const now = performance.now();
      const bitrateBps = (bytes * 8000) / Math.max(1, now - measuredAt);
      [bytes, measuredAt] = [0, now];
      return { bitrateBps, lossPercent: null }; // TCP hides its losses
    },
    close,
  };
}

/**
 * @param {WebSocket} socket
 * @param {URL} base
 */
async function opened(socket, base) {
  await new Promise((resolve) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("close", resolve, { once: true });
  });
  if (socket.readyState === WebSocket.OPEN) return;
  const reached = await answers(base);
  throw new Unreached(reached ? "the server answers but opens no connection" : "the server is not reached");
}
