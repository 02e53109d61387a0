// What tests and benchmarks read; nothing here can be changed from outside.

/** Make it `window.worldstream`. @param {import("./worldstream.js").WorldStream} stream */
export function expose(stream) {
  Object.defineProperty(window, "worldstream", {
    value: Object.freeze({
      get state() {
        return stream.state.name;
      },
      get transport() {
        return stream.link?.transport ?? null;
      },
      get role() {
        return stream.welcome?.role ?? null;
      },
      get place() {
        return stream.state.place;
      },
      get stats() {
        return stream.stats;
      },
      get world() {
        return stream.world;
      },
      get timeline() {
        return stream.timeline;
      },
      get lastFrame() {
        return stream.photon.lastFrame;
      },
      get lastInput() {
        return stream.seq;
      },
      get a2p() {
        return [...stream.photon.samples];
      },
      get figures() {
        return stream.photon.figures(performance.now());
      },
      get marks() {
        return { ...stream.marks };
      },
    }),
  });
}
