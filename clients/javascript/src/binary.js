/**
 * Binary messages of the subprotocol `musetalk.v1.binary`: frames in, speech out. Pure.
 *
 * A header of 24 bytes, big-endian (docs/protocol.md, "Binary frames"), and what follows it.
 */

export const BINARY_SUBPROTOCOL = "musetalk.v1.binary";
export const JSON_SUBPROTOCOL = "musetalk.v1.json";

const VERSION = 1;
const HEADER_BYTES = 24;
const [VIDEO, ACTION, SPEECH] = [1, 2, 3];
const [KEYFRAME, HAS_AUDIO_TIMESTAMP, HAS_SOUND] = [1, 2, 4];

/**
 * @typedef {object} Sound
 * @property {number} sampleRate Hz
 * @property {Int16Array<ArrayBuffer>} pcm mono
 *
 * @typedef {object} BinaryFrame
 * @property {Uint8Array<ArrayBuffer>} accessUnit H.264 Annex B
 * @property {boolean} isIdr
 * @property {number} timestampMs
 * @property {number} [audioTimestampMs]
 * @property {number} [actionProgress] 0 to 1
 * @property {Sound} [sound]
 */

/**
 * Samples of s16le bytes, wherever they lie.
 * @param {Uint8Array} bytes @returns {Int16Array<ArrayBuffer>}
 */
export function samplesOf(bytes) {
  const pcm = new Int16Array(bytes.byteLength >> 1);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < pcm.length; i++) pcm[i] = view.getInt16(2 * i, true);
  return pcm;
}

/**
 * @param {ArrayBuffer} message @returns {BinaryFrame}
 * @throws {RangeError} if it is no frame of version 1
 */
export function unpackFrame(message) {
  const view = new DataView(message);
  if (message.byteLength < HEADER_BYTES)
    throw new RangeError(`A binary message has ${HEADER_BYTES} bytes, not ${message.byteLength}.`);
  const [version, kind, flags] = [view.getUint8(0), view.getUint8(1), view.getUint16(2)];
  if (version !== VERSION || (kind !== VIDEO && kind !== ACTION))
    throw new RangeError(`Version ${version}, kind ${kind} is no frame of version ${VERSION}.`);
  let at = HEADER_BYTES;
  let actionProgress;
  if (kind === ACTION) {
    actionProgress = view.getUint16(at) / 65_535;
    at += 2;
  }
  let sound;
  if (flags & HAS_SOUND) {
    const size = view.getUint32(4);
    sound = {
      sampleRate: view.getUint32(at),
      pcm: samplesOf(new Uint8Array(message, at + 4, size)),
    };
    at += 4 + size;
  }
  return {
    accessUnit: new Uint8Array(message, at),
    isIdr: Boolean(flags & KEYFRAME),
    timestampMs: Number(view.getBigUint64(8)),
    audioTimestampMs: flags & HAS_AUDIO_TIMESTAMP ? Number(view.getBigUint64(16)) : undefined,
    actionProgress,
    sound,
  };
}

/**
 * @param {Int16Array} pcm mono @param {number} sampleRate Hz @param {string} [utteranceId]
 * @returns {ArrayBuffer} the message
 */
export function packSpeech(pcm, sampleRate, utteranceId = "") {
  const begin = HEADER_BYTES + 6 + utteranceId.length;
  const message = new ArrayBuffer(begin + 2 * pcm.length);
  const view = new DataView(message);
  view.setUint8(0, VERSION);
  view.setUint8(1, SPEECH);
  view.setUint32(HEADER_BYTES, sampleRate);
  view.setUint8(HEADER_BYTES + 4, 1);
  view.setUint8(HEADER_BYTES + 5, utteranceId.length);
  for (let i = 0; i < utteranceId.length; i++)
    view.setUint8(HEADER_BYTES + 6 + i, utteranceId.charCodeAt(i));
  for (let i = 0; i < pcm.length; i++) view.setInt16(begin + 2 * i, pcm[i], true);
  return message;
}
