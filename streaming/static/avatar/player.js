/**
 * Shows an avatar and lets it be heard: joins a client's frames, the clock, a view and the sound.
 *
 * One rule keeps mouth and voice together: a frame is due at one moment of one clock
 * (`playout-schedule.js`), its picture is shown then, and the 40 ms of speech that it shows are heard
 * from then on. What the avatar does not show, because the server holds, is not heard either.
 *
 * Events: `view` ({kind}), `shown` ({frame, shownMs, dueMs}), `heard` ({audioTimestampMs, heardMs}),
 * `trouble` (a sentence), `unsupported` (a sentence: this browser can show no avatar).
 *
 * What decodes is chosen by what the browser says it can, and again by what it does: where WebCodecs
 * fail from the first picture on, Media Source Extensions take over.
 */

import { CanvasView } from "./canvas-view.js";
import { MediaClock } from "./media-clock.js";
import { Meter } from "./meter.js";
import { PlayoutSchedule } from "./playout-schedule.js";
import { SpeechLine } from "./speech-line.js";
import { SpeechSound } from "./speech-sound.js";

const SMALLEST_DELAY_MS = 80;
/** A picture may be drawn a little after it was due; then its sound is asked for. */
const KEPT_MS = 1_000;
/** A decoder that has failed so often without one picture will not show any. */
const MOST_FAILURES = 3;

/** The browser can decode the stream in no way. */
const NO_DECODER =
  "It can decode H.264 neither by WebCodecs nor by Media Source Extensions. A recent Chrome, Edge, Safari or Firefox can; Firefox on Linux needs FFmpeg's libraries (package libavcodec).";

/**
 * @typedef {import("./frame.js").AvatarFrame} AvatarFrame
 * @typedef {import("./client.js").InitSuccess} InitSuccess
 * @typedef {{audioTimestampMs: number, dueMs: number}} Coming
 */

export class AvatarPlayer extends EventTarget {
  #schedule = new PlayoutSchedule();
  /** @type {{push: (frame: AvatarFrame, dueMs: number, isStale: boolean) => void, close: () => void, kind: string, smallestDelayMs: number} | undefined} */
  #view;
  /** @type {AvatarFrame[]} since the last IDR, that came before the view was chosen */
  #early = [];
  /** @type {Map<number, number>} AudioContext's s by audio_timestamp: the sound that is on its way */
  #heard = new Map();
  /** @type {Coming[]} speech that is not due yet */
  #coming = [];
  /** @type {import("./speech-line.js").Utterance | undefined} */
  #poured;
  #session = 0;
  #failures = 0;

  /**
   * @param {import("./client.js").AvatarClient} client
   * @param {HTMLElement} container gets a canvas or a video
   * @param {{decoder?: "auto" | "webcodecs" | "mse"}} [options]
   */
  constructor(client, container, { decoder = "auto" } = {}) {
    super();
    this.client = client;
    this.container = container;
    this.decoder = decoder;
    this.clock = new MediaClock();
    this.sound = new SpeechSound(this.clock);
    this.line = new SpeechLine(client);
    this.meter = new Meter();
    const listen = { signal: (this.#ended = new AbortController()).signal };
    client.addEventListener(
      "open",
      (event) => this.#open(/** @type {CustomEvent} */ (event).detail),
      listen,
    );
    client.addEventListener(
      "frame",
      (event) => this.#frame(/** @type {CustomEvent} */ (event).detail),
      listen,
    );
  }

  #ended;

  /**
   * To be called in answer to a click or a key, before anything is to be heard.
   * @returns {Promise<boolean>} whether sound can be heard now
   */
  unlockSound() {
    return this.sound.unlock();
  }

  /** @param {Int16Array} pcm 16 kHz mono, of any length @param {string} [label] */
  speak(pcm, label = "speech") {
    return this.line.say(pcm, label);
  }

  /** Speech as it is spoken. @param {Int16Array} chunk 640 samples @param {string} [label] */
  pour(chunk, label = "microphone") {
    this.#poured = this.line.pour(chunk, this.#poured, label);
  }

  /** What is poured from now on is another utterance. */
  endPouring() {
    this.#poured = undefined;
  }

  /** Be silent, and drop what is queued. */
  interrupt() {
    this.line.interrupt();
    this.sound.stop();
    this.#heard.clear();
    this.#coming = [];
    this.#poured = undefined;
    this.client.interrupt();
  }

  get isMuted() {
    return this.sound.isMuted;
  }

  set isMuted(isMuted) {
    this.sound.isMuted = isMuted;
  }

  /** @returns {import("./meter.js").Measurement} */
  measure() {
    return this.meter.read(this.#schedule);
  }

  /** Let go of everything; the client is the caller's. */
  close() {
    this.#ended.abort();
    this.#view?.close();
    this.sound.stop();
    this.sound.context?.close();
  }

  /** @param {InitSuccess} session */
  async #open(session) {
    const number = ++this.#session;
    this.#view?.close();
    this.#view = undefined;
    this.#early = [];
    this.#heard.clear();
    this.#coming = [];
    this.#schedule.reset();
    this.meter.sessionBegins();
    this.sound.stop();
    this.line.restart();
    await this.#show(session, number);
  }

  /** @param {InitSuccess} session @param {number} number of the session, here */
  async #show(session, number) {
    this.#failures = 0;
    const view = await this.#chooseView(session, number);
    if (number !== this.#session) {
      view?.close();
      return;
    }
    const early = this.#early.splice(0);
    if (!view) {
      this.#tell("unsupported", NO_DECODER);
      return;
    }
    this.#view = view;
    this.#tell("view", { kind: view.kind });
    for (const frame of early) this.#frame(frame);
  }

  /** @param {InitSuccess} session @param {number} number */
  async #chooseView(session, number) {
    const { video } = session;
    /** @type {import("./canvas-view.js").ViewReport} */
    const report = {
      shown: (frame, shownMs, dueMs) => this.#shown(frame, shownMs, dueMs),
      decoded: (tookMs) => this.meter.decoded(tookMs),
      skipped: (count) => (this.meter.dropped += count),
      failed: (sentence) => {
        this.meter.errors += 1;
        this.#failures += 1;
        this.#tell("trouble", sentence);
        if (this.decoder !== "auto" || this.#failures < MOST_FAILURES) return;
        this.decoder = "mse";
        this.#view?.close();
        this.#view = undefined;
        this.#show(session, number);
      },
    };
    if (this.decoder !== "mse" && (await CanvasView.isSupported(video.codec)))
      return new CanvasView(this.container, video, this.clock, report);
    // Loaded only where it is needed: it brings a library along.
    const { MseView } = await import("./mse-view.js");
    if (this.decoder !== "webcodecs" && MseView.isSupported(video.codec))
      return new MseView(this.container, video, this.clock, report);
    return undefined;
  }

  /** @param {AvatarFrame} frame */
  #frame(frame) {
    if (!this.#view) {
      if (frame.isIdr) this.#early = []; // who joins begins there
      this.#early.push(frame);
      return;
    }
    this.meter.received(frame);
    this.clock.follow(this.sound.context);
    this.#schedule.smallestMs = Math.max(
      SMALLEST_DELAY_MS,
      this.#view.smallestDelayMs,
      this.sound.leadMs + 40,
    );
    const speech =
      frame.audioTimestampMs === undefined ? undefined : this.line.at(frame.audioTimestampMs);
    const { dueMs, isStale } = this.#schedule.arrived(frame.timestampMs, frame.arrivedMs, !!speech);
    this.#view.push(frame, dueMs, isStale);
    if (speech && frame.audioTimestampMs !== undefined) {
      this.#coming.push({ audioTimestampMs: frame.audioTimestampMs, dueMs });
      const startS = this.sound.play(speech.pcm, frame.audioTimestampMs * 16, dueMs);
      if (startS !== undefined) this.#heard.set(frame.audioTimestampMs, startS);
    }
    this.#pass();
    this.line.pump();
  }

  /** What was due is over, whether it was drawn or not: pages in the background draw nothing. */
  #pass() {
    while (this.#coming.length > 0 && this.#coming[0].dueMs <= this.clock.now()) {
      const { audioTimestampMs } = /** @type {Coming} */ (this.#coming.shift());
      this.line.shown(audioTimestampMs);
      for (const earlier of this.#heard.keys())
        if (earlier < audioTimestampMs - KEPT_MS) this.#heard.delete(earlier);
    }
  }

  /** @param {AvatarFrame} frame @param {number} shownMs @param {number} dueMs */
  #shown(frame, shownMs, dueMs) {
    this.meter.shown(shownMs);
    this.#failures = 0;
    if (Number.isNaN(this.meter.firstPictureMs)) this.meter.firstPictureMs = shownMs;
    const { audioTimestampMs } = frame;
    if (audioTimestampMs !== undefined) {
      const speech = this.line.at(audioTimestampMs);
      if (speech?.isPrompt) this.meter.answered(shownMs - speech.sentMs);
      const startS = this.#heard.get(audioTimestampMs);
      const heardMs = startS === undefined ? undefined : this.clock.fromSound(startS);
      if (heardMs !== undefined) {
        this.meter.synchronised(shownMs - heardMs, shownMs);
        this.#tell("heard", { audioTimestampMs, heardMs });
      }
    }
    this.#tell("shown", { frame, shownMs, dueMs });
  }

  /** @param {string} name @param {any} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
