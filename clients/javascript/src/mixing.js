/** Sound of any channels and rate → one channel of the rate that is wanted. */

/** Correlation of two channels below which their mean is at least 6 dB quieter than each. */
const INVERTED = -0.5;

export const ONE_SIDE_INVERTED =
  "One side of this sound is inverted: mixed, its two channels would cancel each other, so one of them was taken.";

/**
 * Which of two channels to take instead of their mean, which would cancel them. Pure.
 * @param {Float32Array} left @param {Float32Array} right @returns {0 | 1 | null} null: mix them
 */
export function louderOfInverted(left, right) {
  let both = 0;
  let leftEnergy = 0;
  let rightEnergy = 0;
  for (let i = 0; i < left.length; i++) {
    both += left[i] * right[i];
    leftEnergy += left[i] * left[i];
    rightEnergy += right[i] * right[i];
  }
  if (both >= INVERTED * Math.sqrt(leftEnergy * rightEnergy)) return null;
  return rightEnergy > leftEnergy ? 1 : 0;
}

/**
 * Mix to one channel and resample.
 * @param {AudioBuffer} buffer @param {number} sampleRate Hz
 * @param {(sentence: string) => void} warn called if a side is inverted; then one side is taken
 * @returns {Promise<Float32Array>}
 */
export async function mixed(buffer, sampleRate, warn) {
  const side =
    buffer.numberOfChannels === 2
      ? louderOfInverted(buffer.getChannelData(0), buffer.getChannelData(1))
      : null;
  if (side !== null) warn(ONE_SIDE_INVERTED);
  if (sampleRate === buffer.sampleRate && (side !== null || buffer.numberOfChannels === 1))
    return buffer.getChannelData(side ?? 0);
  const length = Math.max(1, Math.ceil(buffer.duration * sampleRate));
  const mixer = new OfflineAudioContext(1, length, sampleRate);
  const source = mixer.createBufferSource();
  source.buffer = buffer;
  if (side === null) source.connect(mixer.destination);
  else {
    const splitter = mixer.createChannelSplitter(2);
    source.connect(splitter);
    splitter.connect(mixer.destination, side);
  }
  source.start();
  return (await mixer.startRendering()).getChannelData(0);
}
