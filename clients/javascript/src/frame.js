/** A frame as it came, and the stream's fixed measures of time. */

import { fromBase64 } from "./base64.js";
import { samplesOf, unpackFrame } from "./binary.js";

export const SAMPLE_RATE_HZ = 16_000;
export const FRAME_MS = 40;
export const SAMPLES_PER_FRAME = 640;

/**
 * @typedef {object} AvatarFrame
 * @property {Uint8Array<ArrayBuffer>} accessUnit one picture, H.264 Annex B
 * @property {boolean} isIdr
 * @property {number} timestampMs 40 × the frame's number
 * @property {number} [audioTimestampMs] of the first sample of the 40 ms that it shows
 * @property {string} state
 * @property {string} clip
 * @property {number} [actionProgress] 0 to 1
 * @property {import("./binary.js").Sound} [sound] that belongs to it; only watchers are sent it
 * @property {number} arrivedMs by `performance.now()`
 * @property {number} wireBytes length of the whole message
 */

/**
 * @param {any} data of VIDEO_FRAME or ACTION_FRAME
 * @param {number} arrivedMs @param {number} wireBytes @returns {AvatarFrame}
 */
export function frameOf(data, arrivedMs, wireBytes) {
  return {
    accessUnit: fromBase64(data.frame_data),
    isIdr: data.keyframe,
    timestampMs: data.frame_timestamp,
    audioTimestampMs: data.audio_timestamp,
    state: data.state,
    clip: data.base_video,
    actionProgress: data.action_progress,
    sound: data.audio && {
      sampleRate: data.audio.sample_rate,
      pcm: samplesOf(fromBase64(data.audio.data)),
    },
    arrivedMs,
    wireBytes,
  };
}

/**
 * @param {ArrayBuffer} message @param {{state: string, base_video: string}} info of FRAME_INFO
 * @param {number} arrivedMs @returns {AvatarFrame}
 */
export function binaryFrameOf(message, info, arrivedMs) {
  return {
    ...unpackFrame(message),
    state: info.state,
    clip: info.base_video,
    arrivedMs,
    wireBytes: message.byteLength,
  };
}
