/**
 * The speech of one session on its way: waiting, sent, shown, interrupted.
 *
 * Speech is sent in pieces of 40 ms, only a few seconds ahead of what is shown, so that an
 * interruption has little to drop and the server's queue never fills up. What was sent is kept until
 * it was shown: the page plays it itself, in time with the picture, and sends it again where a
 * resumed session or a refusal asks for that.
 *
 * Positions count the session's samples at 16 kHz, as `audio_timestamp` does (there in ms: 16 samples
 * each). Every piece is one frame: 640 samples at 16 kHz, whatever its own rate.
 */

import { SAMPLES_PER_FRAME, SAMPLE_RATE_HZ } from "./frame.js";
import { Utterance } from "./utterance.js";

const AHEAD_SAMPLES = 3 * SAMPLE_RATE_HZ;
/** What was shown is kept a little: after a change of worker a frame may come again. */
const KEPT_SAMPLES = 2 * SAMPLE_RATE_HZ;
const KEPT_UTTERANCES = 40;
/** Where a refusal says no time. */
const RETRY_MS = 500;

/**
 * @typedef {object} SentChunk
 * @property {Int16Array} pcm 40 ms
 * @property {number} sampleRate Hz
 * @property {Utterance} utterance
 * @property {number} number among the session's messages of speech
 * @property {number} sentMs
 * @property {boolean} isPrompt nothing was queued before it: what it takes to be shown is latency
 *
 * @typedef {object} LineOptions
 * @property {string} [id] of the utterance; default: one is made
 * @property {number} [sampleRate] Hz; 16000 by default
 * @property {string} [label] what people call it
 */

export class SpeechLine {
  /** @type {Map<number, SentChunk>} by position, ascending */
  #sent = new Map();
  /** @type {Utterance[]} not yet wholly sent */
  #waiting = [];
  /** @type {SentChunk[]} to be sent again */
  #refused = [];
  #pausedUntilMs = 0;
  #shown = 0;

  /**
   * @param {import("./client.js").AvatarClient} client
   * @param {() => number} now ms
   */
  constructor(client, now = () => performance.now()) {
    this.client = client;
    this.now = now;
    /** @type {Utterance[]} those that are not over, and the latest of the others, in order */
    this.utterances = [];
    /** Sound before this position was interrupted. */
    this.silentBefore = 0;
  }

  /** How much speech is yet to be shown, in samples at 16 kHz: here and at the server. */
  get queuedSamples() {
    const here = this.#waiting.reduce(
      (sum, { frames }) => sum + frames.length * SAMPLES_PER_FRAME,
      0,
    );
    const refused = this.#refused.length * SAMPLES_PER_FRAME;
    return here + refused + Math.max(0, this.client.sentSamples - this.#settled);
  }

  /** What is before it waits no more. */
  get #settled() {
    return Math.max(this.#shown, this.silentBefore);
  }

  /**
   * Queue speech that is there as a whole.
   * @param {Int16Array} pcm @param {LineOptions} [options] @returns {Utterance}
   */
  say(pcm, options) {
    const utterance = this.begin(options);
    this.add(utterance, pcm);
    this.complete(utterance);
    return utterance;
  }

  /**
   * Begin an utterance whose speech comes piece by piece.
   * @param {LineOptions} [options] @returns {Utterance}
   */
  begin({ id = crypto.randomUUID?.() ?? randomId(), sampleRate = SAMPLE_RATE_HZ, label = id } = {}) {
    const utterance = new Utterance({ id, label, sampleRate });
    this.utterances.push(utterance);
    while (this.utterances.length > KEPT_UTTERANCES && this.utterances[0].isOver)
      this.utterances.shift();
    this.#waiting.push(utterance);
    return utterance;
  }

  /**
   * Add speech to an utterance. The end of a piece is padded with silence to whole frames: no frame
   * shows the end of one utterance and the start of another.
   * @param {Utterance} utterance @param {Int16Array} pcm
   */
  add(utterance, pcm) {
    if (utterance.isComplete) return;
    const size = utterance.sampleRate / 25;
    for (let at = 0; at < pcm.length; at += size) {
      let frame = pcm.subarray(at, at + size);
      if (frame.length < size) {
        const whole = new Int16Array(size);
        whole.set(frame);
        frame = whole;
      }
      utterance.frames.push(frame);
      utterance.length += SAMPLES_PER_FRAME;
    }
    this.pump();
  }

  /** Nothing more comes. @param {Utterance} utterance */
  complete(utterance) {
    utterance.isComplete = true;
    this.pump();
  }

  /** Send what may be sent now. Call it with each frame. */
  pump() {
    if (this.now() < this.#pausedUntilMs) return;
    this.#requeueRefused();
    while (this.#waiting.length > 0) {
      const utterance = this.#waiting[0];
      while (
        utterance.frames.length > 0 &&
        this.client.sentSamples - this.#settled < AHEAD_SAMPLES &&
        this.#send(utterance.frames[0], utterance)
      )
        utterance.frames.shift();
      if (utterance.frames.length > 0 || !utterance.isComplete) return;
      this.#waiting.shift();
      if (utterance.sent > 0) this.client.endSpeech(utterance.wireId);
      else utterance.settle(0, false);
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
      if (utterance.state === "interrupted" || utterance.state === "shown" || utterance.start < 0)
        continue;
      const isAll = utterance.isComplete && this.#shown >= utterance.start + utterance.length;
      if (isAll && !this.client.tellsSpeech) utterance.settle(utterance.length / 16, false);
      else if (this.#shown > utterance.start) utterance.state = "showing";
    }
  }

  /** Drop what was not shown. */
  interrupt() {
    this.silentBefore = this.client.sentSamples;
    this.#waiting = [];
    this.#refused = [];
    for (const utterance of this.utterances) {
      if (utterance.state === "shown" || utterance.state === "interrupted") continue;
      const shownMs = this.#shownMs(utterance);
      // Where the server has some of it, it says how much of that was shown.
      if (utterance.sent > 0 && this.client.tellsSpeech) utterance.drop();
      else utterance.settle(shownMs, true);
    }
  }

  /**
   * SPEECH_FINISHED came.
   * @param {{utterance_id: string, played_ms: number, interrupted: boolean}} data
   */
  finished({ utterance_id, played_ms, interrupted }) {
    const utterance = this.utterances.find(({ wireId }) => wireId === utterance_id);
    if (!utterance || utterance.state === "shown") return;
    const begin = utterance.start + played_ms * 16;
    // It was played, though its frames may not have come: the server skips those that are too late.
    // Where they all are, nothing else says that there is room for more.
    if (!interrupted && utterance.start >= 0) this.#shown = Math.max(this.#shown, begin);
    if (interrupted || utterance.isComplete) {
      utterance.settle(played_ms, interrupted);
      this.#waiting = this.#waiting.filter((waiting) => waiting !== utterance);
      return;
    }
    // Speech came too slowly, and the server closed the utterance: what it did not accept any more
    // and all that is still to come go into another one.
    const late = this.#takeBack((chunk, at) => chunk.utterance === utterance && at >= begin);
    utterance.frames.unshift(...late.map(({ pcm }) => pcm));
    utterance.beginPart(played_ms);
  }

  /**
   * The server did not accept a piece: it is sent again when there is room.
   * @param {Record<string, any>} details of ERROR
   */
  refused({ chunk, utterance_id, reason, retry_after_ms }) {
    if (chunk === undefined || reason === "utterance_over") return;
    let isFound = false;
    const taken = this.#takeBack(({ utterance, number }, position) => {
      const isIt =
        !isFound &&
        utterance.wireId === utterance_id &&
        number >= chunk &&
        position >= this.#shown;
      isFound ||= isIt;
      return isIt;
    });
    this.#refused.push(...this.#unsent(taken));
    this.#pausedUntilMs = this.now() + (retry_after_ms ?? RETRY_MS);
  }

  /** The session continues: the server has all speech before this. @param {number} nextAudioMs */
  resumed(nextAudioMs) {
    const next = nextAudioMs * 16;
    const again = this.#takeBack((_chunk, position) => position >= next);
    this.client.sentSamples = next;
    // Numbers of the process that is gone mean nothing: any piece of the utterance is newer.
    for (const chunk of this.#sent.values()) chunk.number = Infinity;
    this.silentBefore = Math.min(this.silentBefore, next);
    this.#shown = Math.min(this.#shown, next);
    this.#requeue(this.#unsent(again));
    this.pump();
  }

  /** No session follows: everything is over. */
  abandon() {
    for (const utterance of this.utterances)
      if (utterance.state !== "shown") utterance.settle(this.#shownMs(utterance), true);
    this.#waiting = [];
    this.restart();
  }

  /** A new session begins: what the old one was sent is gone, what waits is for the new one. */
  restart() {
    for (const utterance of this.utterances)
      if (utterance.hasBegun && utterance.state !== "shown")
        utterance.settle(this.#shownMs(utterance), true);
    this.#sent.clear();
    this.#refused = [];
    this.#shown = this.silentBefore = this.#pausedUntilMs = 0;
    this.#waiting = this.#waiting.filter(({ hasBegun }) => !hasBegun);
    this.pump();
  }

  /** @param {Utterance} utterance @returns {number} */
  #shownMs({ start, sent }) {
    return start < 0 ? 0 : Math.max(0, Math.min(sent, this.#shown - start)) / 16;
  }

  /** @param {Int16Array} pcm @param {Utterance} utterance @returns {boolean} whether it was sent */
  #send(pcm, utterance) {
    const isPrompt = this.client.sentSamples <= this.#settled;
    const { sampleRate, wireId } = utterance;
    const number = this.client.sentChunks;
    const position = this.client.sendSpeech(pcm, { sampleRate, utteranceId: wireId });
    if (position < 0) return false;
    if (utterance.start < 0) utterance.start = position;
    utterance.sent += SAMPLES_PER_FRAME;
    const sentMs = this.now();
    this.#sent.set(position, { pcm, sampleRate, utterance, number, sentMs, isPrompt });
    return true;
  }

  /**
   * Take pieces out of what was sent; the positions of later ones move up, as at the server.
   * @param {(chunk: SentChunk, position: number) => boolean} isTaken @returns {SentChunk[]}
   */
  #takeBack(isTaken) {
    const taken = [];
    /** @type {Map<number, SentChunk>} */
    const kept = new Map();
    for (const [position, chunk] of this.#sent)
      if (isTaken(chunk, position)) taken.push(chunk);
      else {
        const moved = position - taken.length * SAMPLES_PER_FRAME;
        kept.set(moved, chunk);
        if (chunk.utterance.start === position) chunk.utterance.start = moved;
      }
    this.#sent = kept;
    this.client.sentSamples -= taken.length * SAMPLES_PER_FRAME;
    return taken;
  }

  #requeueRefused() {
    if (this.#refused.length === 0) return;
    const newest = new Map();
    for (const { utterance, number } of this.#sent.values()) newest.set(utterance, number);
    // Speech is never said out of order: a piece whose successor was accepted is left out.
    const again = this.#refused.filter(
      ({ utterance, number }) => number > (newest.get(utterance) ?? -1),
    );
    this.#refused = [];
    this.#requeue(again);
  }

  /**
   * Count pieces that the server does not have as not sent.
   * @param {SentChunk[]} chunks @returns {SentChunk[]} those that are to be sent again
   */
  #unsent(chunks) {
    return chunks.filter(({ utterance }) => {
      utterance.sent -= SAMPLES_PER_FRAME;
      if (utterance.state !== "interrupted") return true;
      if (utterance.sent === 0) utterance.settle(0, true); // the server knows nothing of it
      return false;
    });
  }

  /** @param {SentChunk[]} chunks in order, not counted as sent */
  #requeue(chunks) {
    for (const { utterance, pcm } of [...chunks].reverse()) {
      utterance.frames.unshift(pcm);
      if (utterance.sent === 0) utterance.start = -1;
      if (!this.#waiting.includes(utterance)) this.#waiting.unshift(utterance);
    }
  }
}

/** For pages that are not served over https: there `crypto.randomUUID` is missing. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
