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
import { SAMPLE_RATE_HZ } from "./frame.js";
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
 * @typedef {import("./speech-line.js").LineOptions} LineOptions
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
  /** @type {import("./utterance.js").Utterance | undefined} */
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
    /** @type {[name: string, listener: (detail: any) => void][]} */
    const listeners = [
      ["open", (session) => this.#open(session)],
      ["resumed", ({ next_audio_ms }) => this.#resumed(next_audio_ms)],
      ["frame", (frame) => this.#frame(frame)],
      ["speech-finished", (data) => this.line.finished(data)],
      ["problem", ({ details }) => this.line.refused(details ?? {})],
      ["status", ({ name }) => name === "stopped" && this.line.abandon()],
    ];
    for (const [name, listener] of listeners)
      client.addEventListener(
        name,
        (event) => listener(/** @type {CustomEvent} */ (event).detail),
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

  /**
   * Say something that is there as a whole.
   * @param {Int16Array} pcm mono, of any length
   * @param {string | LineOptions} [options] its label, or more
   */
  speak(pcm, options = "speech") {
    const known = typeof options === "string" ? { label: options } : options;
    this.sound.prepare(known.sampleRate ?? SAMPLE_RATE_HZ);
    return this.line.say(pcm, known);
  }

  /** Begin an utterance whose speech comes piece by piece. @param {LineOptions} [options] */
  begin(options = {}) {
    this.sound.prepare(options.sampleRate ?? SAMPLE_RATE_HZ);
    return this.line.begin(options);
  }

  /** Speech as it is spoken. @param {Int16Array} chunk 640 samples @param {string} [label] */
  pour(chunk, label = "microphone") {
    if (!this.client.session) return; // what is said into the void is not said later
    const isOver = !this.#poured || this.#poured.isComplete || this.#poured.state === "interrupted";
    if (isOver) this.#poured = this.begin({ label });
    this.line.add(/** @type {import("./utterance.js").Utterance} */ (this.#poured), chunk);
  }

  /** What is poured from now on is another utterance. */
  endPouring() {
    if (this.#poured) this.line.complete(this.#poured);
    this.#poured = undefined;
  }

  /** Be silent, and drop what is queued. */
  interrupt() {
    this.line.interrupt();
    this.#hush();
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
    this.line.abandon();
    this.#view?.close();
    this.sound.close();
  }

  /** @param {InitSuccess} session */
  async #open(session) {
    const number = ++this.#session;
    this.#view?.close();
    this.#view = undefined;
    this.#early = [];
    this.#schedule.reset();
    this.meter.sessionBegins();
    this.#hush();
    this.line.restart();
    await this.#show(session, number);
  }

  /** The sound that was to come is not heard. */
  #hush() {
    this.sound.stop();
    this.#heard.clear();
    this.#coming = [];
    this.#poured = undefined;
  }

  /**
   * The session continues on another connection. Its timestamps continue, but after the death of a
   * process not by the time that passed: when frames are due is learned again.
   * @param {number} nextAudioMs
   */
  #resumed(nextAudioMs) {
    this.#pass();
    this.#schedule.reset();
    this.line.resumed(nextAudioMs);
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
      decoded: ({ timestampMs }, tookMs) => {
        this.meter.decoded(tookMs);
        this.#schedule.decoded(timestampMs, this.clock.now());
      },
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
    const speech = this.#speechOf(frame);
    const { dueMs, isStale } = this.#schedule.arrived(frame.timestampMs, frame.arrivedMs, !!speech);
    this.#view.push(frame, dueMs, isStale);
    if (speech && frame.audioTimestampMs !== undefined) {
      this.#coming.push({ audioTimestampMs: frame.audioTimestampMs, dueMs });
      const position = frame.audioTimestampMs * 16;
      const startS = this.sound.play(speech.pcm, position, dueMs, speech.sampleRate);
      if (startS !== undefined) this.#heard.set(frame.audioTimestampMs, startS);
    }
    this.#pass();
    this.line.pump();
  }

  /**
   * What is to be heard with a frame: what this page sent, or what came with it.
   * @param {AvatarFrame} frame @returns {import("./binary.js").Sound | undefined}
   */
  #speechOf({ audioTimestampMs, sound }) {
    if (sound) {
      this.sound.prepare(sound.sampleRate);
      return sound;
    }
    const sent = audioTimestampMs === undefined ? undefined : this.line.at(audioTimestampMs);
    return sent && /** @type {import("./binary.js").Sound} */ (sent);
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
