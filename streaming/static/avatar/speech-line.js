/**
 * The speech of one session on its way: waiting, sent, shown, interrupted.
 *
 * Files and synthesised speech are there at once, but are sent only a few seconds ahead of what is
 * shown, so that an interruption has little to drop and the server's queue never fills up.
 * What was sent is kept until it was shown: the page plays it itself, in time with the picture.
 *
 * Positions count the session's samples, as `audio_timestamp` does (there in ms: 16 samples each).
 */

import { SAMPLES_PER_FRAME } from "./frame.js";

const AHEAD_SAMPLES = 3 * 16_000;
/** What was shown is kept a little: after a change of worker a frame may come again. */
const KEPT_SAMPLES = 2 * 16_000;
const KEPT_UTTERANCES = 40;

/**
 * @typedef {object} Utterance
 * @property {string} label
 * @property {number} length samples known so far
 * @property {number} sent how many of them
 * @property {number} start position of its first sample; -1 before it is sent
 * @property {"waiting" | "showing" | "shown" | "interrupted"} state
 *
 * @typedef {object} SentChunk
 * @property {Int16Array} pcm 640 samples
 * @property {number} sentMs
 * @property {boolean} isPrompt nothing was queued before it: what it takes to be shown is latency
 */

export class SpeechLine {
  /** @type {Map<number, SentChunk>} by position */
  #sent = new Map();
  /** @type {{utterance: Utterance, pcm: Int16Array}[]} not yet wholly sent */
  #waiting = [];
  #shown = 0;

  /** @param {import("./client.js").AvatarClient} client */
  constructor(client) {
    this.client = client;
    /** @type {Utterance[]} the latest, in order */
    this.utterances = [];
    /** Sound before this position was interrupted. */
    this.silentBefore = 0;
  }

  /** How much speech is yet to be shown, in samples: here and at the server. */
  get queuedSamples() {
    const here = this.#waiting.reduce(
      (sum, { utterance }) => sum + utterance.length - utterance.sent,
      0,
    );
    return here + Math.max(0, this.client.sentSamples - Math.max(this.#shown, this.silentBefore));
  }

  /**
   * Queue speech that is there as a whole.
   * @param {Int16Array} pcm @param {string} label @returns {Utterance}
   */
  say(pcm, label) {
    // Whole frames: no frame shows the end of one utterance and the start of another.
    const whole = new Int16Array(Math.ceil(pcm.length / SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME);
    whole.set(pcm);
    const utterance = this.#remember(label, whole.length);
    this.#waiting.push({ utterance, pcm: whole });
    this.pump();
    return utterance;
  }

  /**
   * Send speech as it is being spoken.
   * @param {Int16Array} chunk 640 samples
   * @param {Utterance | undefined} utterance that it goes on with @param {string} label
   * @returns {Utterance}
   */
  pour(chunk, utterance, label) {
    const isOver = !utterance || utterance.state === "interrupted" || utterance.state === "shown";
    const poured = isOver ? this.#remember(label, 0) : utterance;
    if (this.#send(chunk, poured)) poured.length = poured.sent;
    return poured;
  }

  /** Send what may be sent now. Call it with each frame. */
  pump() {
    while (this.#waiting.length > 0 && this.client.sentSamples - this.#shown < AHEAD_SAMPLES) {
      const { utterance, pcm } = this.#waiting[0];
      const chunk = pcm.subarray(utterance.sent, utterance.sent + SAMPLES_PER_FRAME);
      if (!this.#send(chunk, utterance)) return;
      if (utterance.sent === utterance.length) this.#waiting.shift();
    }
  }

  /** What a frame shows. @param {number} audioTimestampMs @returns {SentChunk | undefined} */
  at(audioTimestampMs) {
    const position = audioTimestampMs * 16;
    return position < this.silentBefore ? undefined : this.#sent.get(position);
  }

  /** A frame is on the screen. @param {number} audioTimestampMs */
  shown(audioTimestampMs) {
    this.#shown = Math.max(this.#shown, audioTimestampMs * 16 + SAMPLES_PER_FRAME);
    for (const position of this.#sent.keys()) {
      if (position >= this.#shown - KEPT_SAMPLES) break; // a Map keeps the order of sending
      this.#sent.delete(position);
    }
    for (const utterance of this.utterances) {
      if (utterance.state === "interrupted" || utterance.start < 0) continue;
      if (this.#shown >= utterance.start + utterance.length) utterance.state = "shown";
      else if (this.#shown > utterance.start) utterance.state = "showing";
    }
  }

  /** Drop what was not shown. */
  interrupt() {
    this.silentBefore = this.client.sentSamples;
    this.#waiting = [];
    for (const utterance of this.utterances)
      if (utterance.state !== "shown") utterance.state = "interrupted";
  }

  /** A new session begins: what the old one was sent is gone, what waits is for the new one. */
  restart() {
    this.#sent.clear();
    this.#shown = this.silentBefore = 0;
    this.#waiting = this.#waiting.filter(({ utterance }) => utterance.sent === 0);
    for (const utterance of this.utterances)
      if (utterance.sent > 0 && utterance.state !== "shown") utterance.state = "interrupted";
    this.pump();
  }

  /** @param {string} label @param {number} length @returns {Utterance} */
  #remember(label, length) {
    /** @type {Utterance} */
    const utterance = { label, length, sent: 0, start: -1, state: "waiting" };
    this.utterances.push(utterance);
    if (this.utterances.length > KEPT_UTTERANCES) this.utterances.shift();
    return utterance;
  }

  /** @param {Int16Array} pcm @param {Utterance} utterance @returns {boolean} whether it was sent */
  #send(pcm, utterance) {
    const isPrompt = this.client.sentSamples <= Math.max(this.#shown, this.silentBefore);
    const position = this.client.sendSpeech(pcm);
    if (position < 0) return false;
    if (utterance.sent === 0) utterance.start = position;
    utterance.sent += pcm.length;
    this.#sent.set(position, { pcm, sentMs: performance.now(), isPrompt });
    return true;
  }
}
