/**
 * The sound of the speech, played when its picture is seen.
 *
 * Each frame brings 40 ms of it. Pieces that follow each other are joined to the sample; only where
 * the picture paused (or the clocks went apart further than anybody hears) is the sound restarted.
 * The AudioContext runs at the speech's own rate, so that nothing is resampled piece by piece; where
 * the rate changes, `prepare` opens another context as soon as nothing is to be heard.
 */

import { SAMPLE_RATE_HZ } from "./frame.js";
import { fromPcm } from "./pcm.js";

const JOIN_S = 0.012;
const FADE_S = 0.015;
/** Without a loudspeaker Firefox waits for one without end. */
const TIMEOUT_MS = 1_000;

/** @param {number} sampleRate Hz */
const open = (sampleRate) => new AudioContext({ sampleRate, latencyHint: "interactive" });

/** @param {AudioContext} context */
async function start(context) {
  if (context.state === "running") return;
  const timeout = new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS));
  await Promise.race([context.resume(), timeout]);
}

export class SpeechSound {
  /** @type {GainNode | undefined} */
  #output;
  /** @type {Set<AudioBufferSourceNode>} */
  #playing = new Set();
  /** @type {{position: number, endS: number}} of the last piece; position at 16 kHz */
  #last = { position: -1, endS: 0 };
  #isMuted = false;
  #rateHz = SAMPLE_RATE_HZ;
  #isPreparing = false;

  /** @param {import("./media-clock.js").MediaClock} clock */
  constructor(clock) {
    this.clock = clock;
    /** @type {AudioContext | undefined} */
    this.context = undefined;
  }

  /**
   * Sound may be heard: browsers allow that in answer to a click or a key.
   * @returns {Promise<boolean>} whether it can be heard now
   */
  async unlock() {
    if (!this.context) this.#use(open(this.#rateHz));
    await start(/** @type {AudioContext} */ (this.context));
    this.clock.follow(this.context);
    return this.isUnlocked;
  }

  /**
   * Speech of this rate comes next. @param {number} rateHz
   */
  async prepare(rateHz) {
    this.#rateHz = rateHz;
    const old = this.context;
    if (!old || old.sampleRate === rateHz || this.#isPreparing || this.isPlaying) return;
    this.#isPreparing = true;
    const next = open(rateHz);
    await start(next);
    this.#isPreparing = false;
    // What may not run (browsers can ask for another click) or comes too late is not used: then
    // the browser resamples each piece.
    if (next.state !== "running" || this.isPlaying || this.context !== old) {
      next.close();
      return;
    }
    this.#use(next);
    this.clock.follow(undefined);
    this.clock.follow(next);
    old.close();
  }

  /** @param {AudioContext} context */
  #use(context) {
    this.context = context;
    this.#output = context.createGain();
    this.#output.gain.value = this.#isMuted ? 0 : 1;
    this.#output.connect(context.destination);
    this.#playing.clear();
    this.#last = { position: -1, endS: 0 };
  }

  /** Whether sound is heard, or will be. */
  get isPlaying() {
    return this.#playing.size > 0;
  }

  get isUnlocked() {
    return this.context?.state === "running";
  }

  /** How long before it is heard sound must be handed over, in ms. */
  get leadMs() {
    return this.context ? this.clock.latencyMs + 20 : 0;
  }

  get isMuted() {
    return this.#isMuted;
  }

  set isMuted(isMuted) {
    this.#isMuted = isMuted;
    if (this.context && this.#output)
      this.#output.gain.setTargetAtTime(isMuted ? 0 : 1, this.context.currentTime, FADE_S / 3);
  }

  /**
   * Play a piece so that it is heard from `dueMs` on.
   * @param {Int16Array} pcm @param {number} position of its first sample, at 16 kHz
   * @param {number} dueMs @param {number} [rateHz] of the samples
   * @returns {number | undefined} when it is really heard, by the AudioContext in s; undefined if not
   */
  play(pcm, position, dueMs, rateHz = SAMPLE_RATE_HZ) {
    const wantedS = this.clock.toSound(dueMs);
    if (!this.context || !this.#output || wantedS === undefined) return undefined;
    const follows =
      position === this.#last.position && Math.abs(this.#last.endS - wantedS) < JOIN_S;
    // Whole samples: between them the browser would interpolate.
    const startS = follows
      ? this.#last.endS
      : Math.round(wantedS * rateHz) / rateHz;
    const durationS = pcm.length / rateHz;
    const endS = startS + durationS;
    this.#last = { position: position + durationS * SAMPLE_RATE_HZ, endS };

    const lateS = Math.max(0, this.context.currentTime - startS);
    if (lateS >= durationS) return undefined;
    const buffer = this.context.createBuffer(1, pcm.length, rateHz);
    fromPcm(pcm, buffer.getChannelData(0));
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#output);
    source.onended = () => this.#playing.delete(source);
    this.#playing.add(source);
    source.start(startS + lateS, lateS);
    return startS;
  }

  /** Let the loudspeaker go. */
  close() {
    this.stop();
    this.context?.close();
    this.context = undefined; // one that is being prepared is not used
  }

  /** Be silent now. */
  stop() {
    if (!this.context || !this.#output) return;
    const old = this.#output;
    const nowS = this.context.currentTime;
    old.gain.setTargetAtTime(0, nowS, FADE_S / 3);
    for (const source of this.#playing) source.stop(nowS + FADE_S);
    this.#playing.clear();
    this.#last = { position: -1, endS: 0 };
    this.#output = this.context.createGain();
    this.#output.gain.value = this.#isMuted ? 0 : 1;
    this.#output.connect(this.context.destination);
    setTimeout(() => old.disconnect(), FADE_S * 10_000);
  }
}
