// The picture: a video for WebRTC and a canvas for everything else, one of them shown.

export class Picture {
  /** @param {HTMLElement} container `data-shown` on it says which of the two to show: video, canvas, or neither */
  constructor(container) {
    this.container = container;
    this.video = Object.assign(document.createElement("video"), { muted: true, autoplay: true, playsInline: true });
    this.video.disablePictureInPicture = true;
    this.canvas = document.createElement("canvas");
    for (const element of [this.video, this.canvas]) element.setAttribute("aria-hidden", "true"); // the container is labelled
    container.append(this.video, this.canvas);
  }

  /** @param {"video" | "canvas" | null} which */
  show(which) {
    if (which === null) delete this.container.dataset["shown"];
    else if (this.container.dataset["shown"] !== which) this.container.dataset["shown"] = which;
  }

  /** The element that holds the picture now. */
  get element() {
    return this.container.dataset["shown"] === "video" ? this.video : this.canvas;
  }

  /** Keep the last picture: a video that loses its connection may turn black. */
  freeze() {
    if (this.element !== this.video || this.video.videoWidth === 0) return;
    this.canvas.width = this.video.videoWidth;
    this.canvas.height = this.video.videoHeight;
    this.canvas.getContext("2d", { alpha: false })?.drawImage(this.video, 0, 0);
    this.show("canvas");
  }
}
