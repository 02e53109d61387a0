// WebRTC: pictures as H.264 video, control messages on an ordered data channel.

import { decode, encode, hello } from "./protocol.js";
import { NoMedia, Refused, Unreached, answers, troubleIn } from "./link.js";

/** @typedef {import("./link.js").Link} Link */
/** @typedef {import("./link.js").LinkEvents} LinkEvents */
/** @typedef {import("./protocol.js").FrameMessage} FrameMessage */

const REMEMBERED_FRAMES = 256; // `frame` messages that wait for their picture: about eight seconds
const ICE_WAIT_MS = 250; // the server offers its own addresses, so ours hardly matter; do not wait long for them

/**
 * Matches the pictures that the browser shows with the `frame` messages that describe them, by RTP timestamp.
 * Either may come first.
 */
export class FrameMatcher {
  /** @param {(shown: import("./link.js").ShownFrame) => void} onShown */
  constructor(onShown) {
    this.onShown = onShown;
    /** @type {Map<number, FrameMessage>} */
    this.announced = new Map();
    /** @type {Map<number, number>} */
    this.shown = new Map();
  }

  /** @param {FrameMessage} message */
  announce(message) {
    if (message.rtp === null) return;
    const at = this.shown.get(message.rtp);
    if (at !== undefined) {
      this.shown.delete(message.rtp);
      this.#match(message, at);
    } else {
      remember(this.announced, message.rtp, message);
    }
  }

  /**
   * @param {number} rtp
   * @param {number} at
   */
  show(rtp, at) {
    const message = this.announced.get(rtp);
    if (message) {
      this.announced.delete(rtp);
      this.#match(message, at);
    } else {
      remember(this.shown, rtp, at);
    }
  }

  /**
   * @param {FrameMessage} message
   * @param {number} at
   */
  #match(message, at) {
    this.onShown({ frame: message.frame, input: message.input, serverMs: message.server_ms, at });
  }
}

/**
 * @template T
 * @param {Map<number, T>} map
 * @param {number} key
 * @param {T} value
 */
function remember(map, key, value) {
  map.set(key, value);
  if (map.size > REMEMBERED_FRAMES) map.delete(/** @type {number} */ (map.keys().next().value));
}

/**
 * Opens a connection; resolves as soon as the server has answered the offer. Raises Unreached, Refused or NoMedia.
 * @param {{base: URL, wish: import("./protocol.js").Wish, video: HTMLVideoElement, events: LinkEvents, signal: AbortSignal}} options
 * @returns {Promise<Link>}
 */
export async function openWebRTC({ base, wish, video, events, signal }) {
  if (typeof RTCPeerConnection === "undefined") throw new NoMedia("this browser has no WebRTC");
  const peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("control", { ordered: true });
  const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
  playAtOnce(receiver);
  const matcher = new FrameMatcher(events.onShown);
  let open = true;

  const close = () => {
    if (!open) return;
    open = false;
    if (channel.readyState === "open") channel.send(encode({ type: "bye" }));
    // `bye` leaves the page only if the connection outlives this turn of the event loop.
    setTimeout(() => peer.close(), 100);
  };
  const lose = () => {
    if (!open) return;
    open = false;
    peer.close();
    events.onLost(1006);
  };

  channel.addEventListener("message", ({ data }) => {
    if (!open) return;
    const message = decode(data);
    if (message?.type === "frame") matcher.announce(message);
    if (message) events.onMessage(message);
  });
  channel.addEventListener("close", lose);
  peer.addEventListener("connectionstatechange", () => {
    if (peer.connectionState === "connected") events.onStep("media");
    if (peer.connectionState === "failed" || peer.connectionState === "closed") lose();
  });
  peer.addEventListener("track", ({ track }) => {
    video.srcObject = new MediaStream([track]);
    void video.play().catch(() => {}); // muted video may always play; a page that is being left may refuse
  });
  signal.addEventListener("abort", close, { once: true });
  watchPictures(video, matcher, events, () => open);

  try {
    await peer.setRemoteDescription(await offer(peer, base, wish, signal));
  } catch (error) {
    open = false;
    peer.close();
    if (error instanceof Refused || error instanceof Unreached) throw error;
    throw new NoMedia(String(error));
  }
  events.onStep("server");
  return {
    transport: "webrtc",
    send: (message) => {
      if (channel.readyState === "open") channel.send(encode(message));
    },
    traffic: trafficOf(peer),
    close,
  };
}

/**
 * A world answers keys: a picture that waits in a buffer is a picture too late.
 * @param {RTCRtpReceiver} receiver
 */
function playAtOnce(receiver) {
  receiver.jitterBufferTarget = 0;
  Object.assign(receiver, { playoutDelayHint: 0 }); // its older name, which some browsers still go by
}

/**
 * @param {RTCPeerConnection} peer
 * @param {URL} base
 * @param {import("./protocol.js").Wish} wish
 * @param {AbortSignal} signal
 * @returns {Promise<RTCSessionDescriptionInit>}
 */
async function offer(peer, base, wish, signal) {
  await peer.setLocalDescription();
  await gathered(peer);
  const { sdp } = /** @type {RTCSessionDescription} */ (peer.localDescription);
  const body = JSON.stringify({ sdp, type: "offer", hello: hello(wish) });
  /** @type {Response} */
  let response;
  try {
    const headers = { "content-type": "application/json" };
    response = await fetch(new URL("api/offer", base), { method: "POST", headers, body, signal });
  } catch (error) {
    if (signal.aborted || (await answers(base))) throw new NoMedia(String(error));
    throw new Unreached("the server is not reached");
  }
  if (!response.ok) throw new Refused(await troubleIn(response));
  return await response.json();
}

/** @param {RTCPeerConnection} peer */
function gathered(peer) {
  return new Promise((resolve) => {
    const done = () => peer.iceGatheringState === "complete" && resolve(undefined);
    peer.addEventListener("icegatheringstatechange", done);
    setTimeout(resolve, ICE_WAIT_MS);
    done();
  });
}

/**
 * @param {HTMLVideoElement} video
 * @param {FrameMatcher} matcher
 * @param {LinkEvents} events
 * @param {() => boolean} open
 */
function watchPictures(video, matcher, events, open) {
  /** @type {VideoFrameRequestCallback} */
  const shown = (now, metadata) => {
    if (!open()) return;
    video.requestVideoFrameCallback(shown);
    events.onPicture("webrtc");
    // The moment that light leaves the screen, as far as the browser can tell.
    if (metadata.rtpTimestamp !== undefined) matcher.show(metadata.rtpTimestamp, Math.max(now, metadata.expectedDisplayTime));
  };
  video.requestVideoFrameCallback(shown);
}

/**
 * Bits per second and packets lost since the previous call.
 * @param {RTCPeerConnection} peer
 * @returns {() => Promise<import("./link.js").Traffic>}
 */
function trafficOf(peer) {
  let bytes = 0;
  let lost = 0;
  let packets = 0;
  let at = performance.now();
  return async () => {
    for (const report of (await peer.getStats()).values()) {
      if (report.type !== "inbound-rtp" || report.kind !== "video") continue;
      const now = performance.now();
      const newLost = report.packetsLost - lost;
      const expected = newLost + report.packetsReceived - packets;
      const bitrateBps = ((report.bytesReceived - bytes) * 8000) / Math.max(1, now - at);
      [bytes, lost, packets, at] = [report.bytesReceived, report.packetsLost, report.packetsReceived, now];
      return { bitrateBps, lossPercent: expected > 0 ? (100 * Math.max(0, newLost)) / expected : 0 };
    }
    return { bitrateBps: 0, lossPercent: null };
  };
}
