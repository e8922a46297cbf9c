/**
 * H.264 access units in the two ways of writing them: Annex B (start codes, as streamed) and AVCC
 * (lengths, as MP4 wants it). ISO/IEC 14496-10 Annex B, 14496-15 §5.
 */

const SPS = 7;
const PPS = 8;
const DELIMITER = 9;

/** @param {Uint8Array} annexB @returns {Uint8Array[]} its NAL units, without start codes */
export function nalUnits(annexB) {
  const units = [];
  let start = -1;
  for (let i = 0; i + 2 < annexB.length; i++) {
    if (annexB[i] !== 0 || annexB[i + 1] !== 0 || annexB[i + 2] !== 1) continue;
    if (start >= 0) units.push(annexB.subarray(start, withoutZeros(annexB, start, i)));
    start = i + 3;
    i += 2;
  }
  if (start >= 0) units.push(annexB.subarray(start, withoutZeros(annexB, start, annexB.length)));
  return units;
}

/** Zeros between two units belong to neither. @param {Uint8Array} bytes @param {number} start @param {number} end */
function withoutZeros(bytes, start, end) {
  while (end > start && bytes[end - 1] === 0) end--;
  return end;
}

/** @param {Uint8Array} unit */
const typeOf = (unit) => unit[0] & 0x1f;

/**
 * @param {Uint8Array} annexB
 * @returns {{avcc: Uint8Array, sps?: Uint8Array, pps?: Uint8Array}}
 *   the picture's units, each behind its length in 4 bytes; parameter sets apart
 */
export function toAvcc(annexB) {
  const units = nalUnits(annexB);
  const kept = units.filter((unit) => ![SPS, PPS, DELIMITER].includes(typeOf(unit)));
  const avcc = new Uint8Array(kept.reduce((size, unit) => size + 4 + unit.length, 0));
  const view = new DataView(avcc.buffer);
  let end = 0;
  for (const unit of kept) {
    view.setUint32(end, unit.length);
    avcc.set(unit, end + 4);
    end += 4 + unit.length;
  }
  return {
    avcc,
    sps: units.find((unit) => typeOf(unit) === SPS),
    pps: units.find((unit) => typeOf(unit) === PPS),
  };
}
