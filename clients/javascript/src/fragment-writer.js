/** Fragmented MP4 of one video track, a picture a fragment; the boxes are written by mux.js. */

import "./vendor/mux/mux-mp4.min.js"; // defines globalThis.muxjs

const TIMESCALE = 90_000; // mux.js writes no other for video
const { generator } = /** @type {any} */ (globalThis).muxjs;

export class FragmentWriter {
  #sequence = 0;
  #parameterSets = "";

  get isConfigured() {
    return this.#parameterSets !== "";
  }

  /**
   * @param {Uint8Array} sps @param {Uint8Array} pps @param {number} width @param {number} height
   * @returns {Uint8Array | undefined} the initialization segment, if these are new
   */
  configure(sps, pps, width, height) {
    const parameterSets = `${sps}/${pps}`;
    if (parameterSets === this.#parameterSets) return undefined;
    this.#parameterSets = parameterSets;
    const [, profileIdc, profileCompatibility, levelIdc] = sps;
    const track = {
      id: 1,
      type: "video",
      duration: 0xffffffff,
      timescale: TIMESCALE,
      width,
      height,
    };
    return generator.initSegment([
      { ...track, sps: [sps], pps: [pps], profileIdc, profileCompatibility, levelIdc },
    ]);
  }

  /**
   * @param {Uint8Array} avcc @param {number} timestampMs @param {number} durationMs
   * @param {boolean} isIdr @returns {Uint8Array}
   */
  fragment(avcc, timestampMs, durationMs, isIdr) {
    const flags = {
      isLeading: 0,
      dependsOn: isIdr ? 2 : 1,
      isDependedOn: 0,
      hasRedundancy: 0,
      paddingValue: 0,
      isNonSyncSample: isIdr ? 0 : 1,
      degradationPriority: 0,
    };
    const duration = (durationMs * TIMESCALE) / 1000;
    const sample = { duration, size: avcc.length, flags, compositionTimeOffset: 0 };
    const moof = generator.moof(this.#sequence++, [
      {
        id: 1,
        type: "video",
        baseMediaDecodeTime: (timestampMs * TIMESCALE) / 1000,
        samples: [sample],
      },
    ]);
    const mdat = generator.mdat(avcc);
    const fragment = new Uint8Array(moof.length + mdat.length);
    fragment.set(moof);
    fragment.set(mdat, moof.length);
    return fragment;
  }
}
