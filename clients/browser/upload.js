// Sending the server a picture that a world may start from.

import { MAX_IMAGE_BYTES } from "./protocol.js";
import { Refused, Unreached, troubleIn } from "./link.js";

/**
 * What the server makes of a picture.
 * @typedef {object} StartImage
 * @property {string} image the id for `enter` and `reset`; the server keeps the picture for about an hour
 * @property {string} caption what the model sees in it, as a prompt
 * @property {number} confidence that its first word, the theme, is right; 0 to 1
 * @property {string[]} understood words of the caption
 * @property {boolean} familiar like the pictures that the model was trained on
 * @property {number} distance from those; above 1 is far
 * @property {string[]} notes what was done to the picture, in sentences
 */

/**
 * Raises Refused (with what is wrong and what to do) or Unreached.
 * @param {URL} base
 * @param {Blob} file
 * @param {AbortSignal} [signal]
 * @returns {Promise<StartImage>}
 */
export async function sendImage(base, file, signal) {
  if (file.size > MAX_IMAGE_BYTES) {
    const message = `This file has ${Math.ceil(file.size / 2 ** 20)} MiB; ${MAX_IMAGE_BYTES / 2 ** 20} MiB is the limit.`;
    throw new Refused({ code: "image_too_large", message, remedy: "Make the picture smaller.", id: "" });
  }
  /** @type {Response} */
  let response;
  try {
    const headers = { "content-type": "application/octet-stream" }; // the server looks at the bytes, not at a name
    response = await fetch(new URL("api/image", base), { method: "POST", headers, body: file, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreached("the server is not reached");
  }
  if (!response.ok) throw new Refused(await troubleIn(response));
  return await response.json();
}
