// Runs inside the page during benchmarks/latency.py: reads the barcode of every picture that is displayed.
// The barcode's format is in realtime/stamp.py. Timestamps are `performance.now()` milliseconds.

(() => {
  const BLOCKS = 24;
  const HEIGHT_PX = 16;
  const FRAME_BITS = 12;
  const INPUTS = 1024;
  const box = document.getElementById("picture");
  const video = box.querySelector("video");
  const canvas = box.querySelector("canvas");
  const strip = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

  const watch = {
    frames: 0,
    unread: 0,
    clickedAt: 0,
    firstShownAt: 0,
    pressedAt: 0,
    expected: null, // number of the input that is waited for; null = the next key press decides
    answeredMs: null,
    waiting: false,
    newest: null,
    shownAt: [],
    expect() {
      Object.assign(this, { expected: null, answeredMs: null, waiting: true });
    },
    count() {
      this.shownAt = [];
    },
    counted() {
      const gaps = this.shownAt.slice(1).map((at, index) => at - this.shownAt[index]);
      const span = this.shownAt.at(-1) - this.shownAt[0];
      return { fps: (1000 * gaps.length) / span, longestGapMs: Math.max(...gaps) };
    },
  };

  function readStamp(source, width) {
    const block = Math.floor(width / BLOCKS);
    if (strip.canvas.width !== width) Object.assign(strip.canvas, { width, height: HEIGHT_PX });
    strip.drawImage(source, 0, 0, width, HEIGHT_PX, 0, 0, width, HEIGHT_PX);
    const rows = 4;
    const { data } = strip.getImageData(0, HEIGHT_PX / 2 - rows / 2, width, rows);
    let text = "";
    for (let index = 0; index < BLOCKS; index++) {
      const x = index * block + Math.floor(block / 2);
      let sum = 0;
      for (let row = 0; row < rows; row++) {
        const at = 4 * (row * width + x);
        sum += data[at] + data[at + 1] + data[at + 2];
      }
      text += sum / (3 * rows) > 127 ? "1" : "0";
    }
    const even = text.split("1").length % 2 === 1;
    if (text[0] !== "1" || !even) return null;
    return { frame: parseInt(text.slice(1, 1 + FRAME_BITS), 2), input: parseInt(text.slice(1 + FRAME_BITS, -1), 2) };
  }

  function see(source, width, at) {
    if (!width) return;
    const stamp = readStamp(source, width);
    if (stamp === null) {
      watch.unread += watch.frames > 0 ? 1 : 0;
      return;
    }
    if (stamp.frame === watch.newest) return; // the same picture, seen again
    watch.newest = stamp.frame;
    watch.frames += 1;
    watch.firstShownAt ||= at;
    watch.shownAt.push(at);
    const ahead = (stamp.input - (watch.expected ?? 0) + INPUTS) % INPUTS;
    if (watch.waiting && watch.expected !== null && ahead < INPUTS / 2) {
      watch.answeredMs = at - watch.pressedAt;
      watch.waiting = false;
    }
  }

  // A video says itself when a picture is displayed; what is on a canvas at the start of an animation frame is shown by it.
  const onVideo = (now, metadata) => {
    video.requestVideoFrameCallback(onVideo);
    see(video, video.videoWidth, Math.max(now, metadata.expectedDisplayTime));
  };
  video.requestVideoFrameCallback(onVideo);
  const onCanvas = (at) => {
    requestAnimationFrame(onCanvas);
    if (box.dataset.shown === "canvas") see(canvas, canvas.width, at);
  };
  requestAnimationFrame(onCanvas);

  addEventListener("click", (event) => (watch.clickedAt ||= event.timeStamp), { capture: true });
  // Added after the page's own listener, so the input has already left when this one reads its number.
  addEventListener("keydown", (event) => {
    if (!watch.waiting || watch.expected !== null || event.repeat) return;
    watch.pressedAt = event.timeStamp;
    watch.expected = worldstream.lastInput % INPUTS;
  });
  globalThis.watch = watch;
})();
