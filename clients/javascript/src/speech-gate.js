/**
 * Lets speech through and keeps silence back, for a microphone that stays open: without it the
 * avatar would be "speaking" all the time. Pure.
 *
 * The noise of the room is what the quiet chunks of the last seconds have in common; speech is
 * clearly louder. What was heard just before it began is let through as well, for soft beginnings, and
 * it stays open over short pauses.
 */

const LOUDER = 3; // than the room, in amplitude
const LEAST = 0.006; // of full scale: −44 dB
const RISE = 0.01; // a chunk, towards a room that became louder
const FALL = 0.3;
const BEFORE = 5; // chunks of 40 ms
const AFTER = 12;

export class SpeechGate {
  #room = LEAST;
  #open = 0;
  /** @type {Int16Array[]} */
  #before = [];

  get isOpen() {
    return this.#open > 0;
  }

  /** @param {Int16Array} chunk @returns {Int16Array[]} what is let through now */
  pass(chunk) {
    let energy = 0;
    for (const sample of chunk) energy += sample * sample;
    const level = Math.sqrt(energy / chunk.length) / 32_768;
    const isSpeech = level > Math.max(LEAST, this.#room * LOUDER);
    this.#room += (level - this.#room) * (level > this.#room ? RISE : FALL);
    if (isSpeech) this.#open = AFTER;
    else if (this.#open > 0) this.#open -= 1;
    if (this.#open === 0) {
      this.#before.push(chunk);
      if (this.#before.length > BEFORE) this.#before.shift();
      return [];
    }
    return [...this.#before.splice(0), chunk];
  }
}
