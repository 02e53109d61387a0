// A gamepad with the standard mapping: left stick and cross walk, right stick looks.

const DEAD_ZONE = 0.15; // worn sticks never quite rest
const CROSS = { up: 12, down: 13, left: 14, right: 15 };

/** @typedef {{move: [number, number] | null, look: [number, number] | null}} Sticks right and forward, right and up */

/**
 * The first connected gamepad, or null.
 * @returns {Sticks | null}
 */
export function readGamepad() {
  const pad = navigator.getGamepads?.().find((candidate) => candidate?.connected && candidate.mapping === "standard");
  if (!pad) return null;
  const pressed = (/** @type {number} */ index) => (pad.buttons[index]?.pressed ? 1 : 0);
  const crossX = pressed(CROSS.right) - pressed(CROSS.left);
  const crossY = pressed(CROSS.up) - pressed(CROSS.down);
  return {
    move: crossX || crossY ? [crossX, crossY] : beyondDeadZone(pad.axes[0] ?? 0, -(pad.axes[1] ?? 0)),
    look: beyondDeadZone(pad.axes[2] ?? 0, -(pad.axes[3] ?? 0)),
  };
}

/**
 * @param {number} x
 * @param {number} y
 * @returns {[number, number] | null}
 */
export function beyondDeadZone(x, y) {
  const length = Math.hypot(x, y);
  if (length < DEAD_ZONE) return null;
  // From 0 at the edge of the dead zone to 1 at the rim, so that slow walking is possible.
  const scale = Math.min(1, (length - DEAD_ZONE) / (1 - DEAD_ZONE)) / length;
  return [round(x * scale), round(y * scale)];
}

/** @param {number} value */
function round(value) {
  return Math.round(Math.max(-1, Math.min(1, value)) * 100) / 100 + 0;
}
