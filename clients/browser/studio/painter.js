// The mask brush: what is painted white over a still of the video may change, the rest stays.

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

export class Painter {
  /** @param {(mask: File | null) => void} onDone */
  constructor(onDone) {
    this.onDone = onDone;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("painter"));
    this.canvas = /** @type {HTMLCanvasElement} */ (byId("canvas"));
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.brush = /** @type {HTMLInputElement} */ (byId("brush"));
    this.drawing = false;
    this.at = { x: 0, y: 0 };
    this.#listen();
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.drawing = true;
      this.at = this.#place(event);
      this.#stroke(this.at);
    });
    canvas.addEventListener("pointermove", (event) => this.drawing && this.#stroke(this.#place(event)));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => (this.drawing = false));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    byId("paint-clear").addEventListener("click", () => this.context.clearRect(0, 0, canvas.width, canvas.height));
    byId("paint-cancel").addEventListener("click", () => this.dialog.close());
    byId("paint-done").addEventListener("click", () => void this.#finish());
  }

  /** @param {PointerEvent} event */
  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * this.canvas.width, y: ((event.clientY - box.top) / box.height) * this.canvas.height };
  }

  /** @param {{x: number, y: number}} to */
  #stroke(to) {
    const { context } = this;
    context.strokeStyle = context.fillStyle = "#5eead4";
    context.lineCap = "round";
    context.lineWidth = (Number(this.brush.value) * this.canvas.width) / 640;
    context.beginPath();
    context.moveTo(this.at.x, this.at.y);
    context.lineTo(to.x + 0.01, to.y); // a point is a very short line
    context.stroke();
    this.at = to;
  }

  /** Arrow keys move, the space bar paints. @param {KeyboardEvent} event */
  #key(event) {
    const step = this.canvas.width / (event.shiftKey ? 16 : 64);
    const moves = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] });
    const move = moves[event.key];
    if (event.key !== " " && !move) return;
    event.preventDefault();
    if (event.key === " ") return this.#stroke(this.at);
    const [dx, dy] = move ?? [0, 0];
    const to = { x: Math.min(this.canvas.width, Math.max(0, this.at.x + dx * step)), y: Math.min(this.canvas.height, Math.max(0, this.at.y + dy * step)) };
    if (event.ctrlKey) this.#stroke(to);
    else this.at = to;
  }

  /** @param {string} url of the video */
  async open(url) {
    const video = document.createElement("video");
    video.muted = true;
    video.preload = "auto";
    video.src = url;
    await new Promise((resolve, reject) => {
      video.addEventListener("loadeddata", resolve, { once: true });
      video.addEventListener("error", () => reject(new Error("this browser cannot show the video")), { once: true });
    });
    const { canvas } = this;
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const still = document.createElement("canvas");
    still.width = canvas.width;
    still.height = canvas.height;
    still.getContext("2d")?.drawImage(video, 0, 0);
    canvas.style.backgroundImage = `url(${still.toDataURL("image/jpeg", 0.85)})`;
    canvas.style.opacity = "1";
    this.at = { x: canvas.width / 2, y: canvas.height / 2 };
    this.dialog.showModal();
    canvas.focus();
  }

  async #finish() {
    const { width, height } = this.canvas;
    const painted = this.context.getImageData(0, 0, width, height).data;
    const mask = document.createElement("canvas");
    mask.width = width;
    mask.height = height;
    const context = /** @type {CanvasRenderingContext2D} */ (mask.getContext("2d"));
    const pixels = context.createImageData(width, height);
    let any = false;
    for (let i = 0; i < painted.length; i += 4) {
      const white = (painted[i + 3] ?? 0) > 127 ? 255 : 0;
      any ||= white > 0;
      pixels.data.set([white, white, white, 255], i);
    }
    context.putImageData(pixels, 0, 0);
    this.dialog.close();
    if (!any) return this.onDone(null);
    const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ resolve) => mask.toBlob(resolve, "image/png"));
    this.onDone(blob && new File([blob], "mask.png", { type: "image/png" }));
  }
}
