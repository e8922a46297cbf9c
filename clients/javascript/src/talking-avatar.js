/**
 * A talking avatar in a page: connected, seen, heard, and spoken through.
 *
 *     import { TalkingAvatar } from "talking-avatar";
 *
 *     const avatar = new TalkingAvatar({ server: "https://avatars.example", user: "me", container });
 *     avatar.connect();
 *     button.onclick = async () => {
 *       await avatar.unlockSound(); // browsers allow sound after a click
 *       const { playedMs, interrupted } = await avatar.speak(pcm, { sampleRate: 24_000 }).finished;
 *     };
 *
 * Events: all of `AvatarClient` (`status`, `open`, `resumed`, `session-lost`, `frame`, `speech-started`,
 * `speech-finished`, `state`, `action`, `interrupted`, `warning`, `problem`, `message`) and of
 * `AvatarPlayer` (`view`, `shown`, `heard`, `trouble`, `unsupported`).
 */

import { AvatarClient } from "./client.js";
import { SAMPLE_RATE_HZ } from "./frame.js";
import { Microphone } from "./microphone.js";
import { AvatarPlayer } from "./player.js";
import { Framer, checkRate, fromAudioBuffer, isSamples, piecesOf, rateFor, toSamples } from "./speech-source.js";

const UTTERANCE_ID = /^[A-Za-z0-9_.:-]{1,64}$/;
const FORWARDED = {
  client: [
    ...["status", "open", "resumed", "session-lost", "frame", "speech-started", "speech-finished"],
    ...["state", "action", "interrupted", "warning", "problem", "message"],
  ],
  player: ["view", "shown", "heard", "trouble", "unsupported"],
};

/**
 * @typedef {object} AvatarOptions
 * @property {HTMLElement} container gets a canvas (or a video, where the browser has no WebCodecs)
 * @property {string} user whose avatar
 * @property {string} [server] http(s):// or ws(s)://; default: where the page came from
 * @property {string | (() => string | Promise<string>)} [token] where the server asks for one; a
 *   function is called at each connection, for tokens that expire
 * @property {{sessionId: string, token: string}} [watch] see and hear this session of `user`
 * @property {boolean} [allowWatchers] `watchToken` then lets others watch
 * @property {"keep" | "drop"} [lateAudio] what happens to speech after a gap; drop is right for a
 *   microphone
 * @property {boolean} [binary] false: JSON only
 * @property {"auto" | "webcodecs" | "mse"} [decoder]
 *
 * @typedef {object} SpeakOptions
 * @property {number} [sampleRate] Hz of samples and streams of samples; 16000 by default
 * @property {string} [utteranceId] 1 to 64 letters, digits, `_`, `.`, `:` or `-`; used once a session
 * @property {string} [label] what people call it
 *
 * @typedef {object} Speaking
 * @property {string} id
 * @property {Promise<import("./utterance.js").Played>} finished how it went; rejected only if its
 *   source fails
 * @property {() => void} end a stream is cut off here, and what it brought is said to its end
 */

export class TalkingAvatar extends EventTarget {
  /** @param {AvatarOptions} options */
  constructor({ container, user, decoder, ...rest }) {
    super();
    this.client = new AvatarClient({ userId: user, ...rest });
    this.player = new AvatarPlayer(this.client, container, { decoder });
    for (const name of FORWARDED.client) this.#forward(this.client, name);
    for (const name of FORWARDED.player) this.#forward(this.player, name);
  }

  /** Where the connection stands. */
  get status() {
    return this.client.status;
  }

  get sessionId() {
    return this.client.sessionId;
  }

  /** What lets others watch this session, once it is open and `allowWatchers` was set. */
  get watchToken() {
    return this.client.session?.watch?.token;
  }

  /**
   * Another token for watchers, where the server asks for credentials; the first is valid for an
   * hour.
   * @returns {Promise<string>}
   */
  newWatchToken() {
    return this.client.newWatchToken();
  }

  get isMuted() {
    return this.player.isMuted;
  }

  set isMuted(isMuted) {
    this.player.isMuted = isMuted;
  }

  /** Connect now, as a new session. */
  connect() {
    this.client.connect();
  }

  /** End the session, and let go of everything; this object is of no use any more. */
  close() {
    this.client.close();
    this.player.close();
  }

  /**
   * To be called in answer to a click or a key, before anything is to be heard.
   * @returns {Promise<boolean>} whether sound can be heard now
   */
  unlockSound() {
    return this.player.unlockSound();
  }

  /**
   * Say something: samples, an AudioBuffer, a stream of samples, or a MediaStream as it is spoken.
   * Utterances are said one after the other; what is there before the session opens waits for it.
   * @param {import("./speech-source.js").Speech} speech
   * @param {SpeakOptions} [options] @returns {Speaking}
   * @throws {RangeError} the rate or the id is none that the server takes
   */
  speak(speech, { sampleRate = SAMPLE_RATE_HZ, utteranceId, label } = {}) {
    checkRate(sampleRate);
    if (utteranceId !== undefined && !UTTERANCE_ID.test(utteranceId))
      throw new RangeError(
        `An utteranceId has 1 to 64 letters, digits, _ . : or -, unlike ${JSON.stringify(utteranceId)}.`,
      );
    if (this.client.watch) throw new Error("Who watches a session cannot speak in it.");
    if (isSamples(speech)) {
      const utterance = this.player.speak(toSamples(speech), { id: utteranceId, sampleRate, label });
      return { id: utterance.id, finished: utterance.finished, end() {} };
    }
    if (speech instanceof AudioBuffer) return this.#speakBuffer(speech, utteranceId, label);
    const isCapture = speech instanceof MediaStream;
    const utterance = this.player.begin({
      id: utteranceId,
      sampleRate: isCapture ? SAMPLE_RATE_HZ : sampleRate,
      label,
    });
    return isCapture ? this.#capture(speech, utterance) : this.#stream(speech, utterance);
  }

  /** Be silent, and drop what is queued. */
  interrupt() {
    this.player.interrupt();
  }

  /** The user begins or stops speaking: the avatar turns attentive. @param {boolean} active */
  userSpeaking(active) {
    this.client.userSpeaking(active);
  }

  /** @param {string} state idle, speaking or action @param {string} [clip] default: any of it */
  changeState(state, clip) {
    this.client.changeState(state, clip);
  }

  /** @param {1 | 2} index */
  startAction(index) {
    this.client.startAction(index);
  }

  /** @returns {import("./meter.js").Measurement} */
  measure() {
    return this.player.measure();
  }

  /**
   * @param {AudioBuffer} buffer @param {string | undefined} id @param {string | undefined} label
   * @returns {Speaking}
   */
  #speakBuffer(buffer, id, label) {
    // Its place in the order is taken at once, although mixing takes a moment.
    const utterance = this.player.begin({ id, sampleRate: rateFor(buffer.sampleRate), label });
    const said = fromAudioBuffer(buffer).then(({ pcm }) => {
      this.player.line.add(utterance, pcm);
      this.player.line.complete(utterance);
    });
    return { id: utterance.id, finished: this.#after(said, utterance), end() {} };
  }

  /**
   * @param {import("./speech-source.js").SampleStream} stream
   * @param {import("./utterance.js").Utterance} utterance @returns {Speaking}
   */
  #stream(stream, utterance) {
    const { line } = this.player;
    const framer = new Framer(utterance.sampleRate);
    const pieces = piecesOf(stream);
    const end = () => {
      for (const frame of framer.end()) line.add(utterance, frame);
      line.complete(utterance);
      pieces.return?.();
    };
    utterance.source = () => void pieces.return?.();
    const read = async () => {
      for await (const piece of pieces) {
        if (utterance.isComplete) break;
        for (const frame of framer.push(piece)) line.add(utterance, frame);
      }
      if (!utterance.isComplete) end();
    };
    return { id: utterance.id, finished: this.#after(read(), utterance), end };
  }

  /**
   * @param {MediaStream} stream @param {import("./utterance.js").Utterance} utterance
   * @returns {Speaking}
   */
  #capture(stream, utterance) {
    const { line } = this.player;
    const microphone = new Microphone((chunk) => line.add(utterance, chunk), stream);
    utterance.source = () => microphone.close();
    const end = () => {
      microphone.close();
      line.complete(utterance);
    };
    for (const track of stream.getAudioTracks()) track.addEventListener("ended", end);
    return { id: utterance.id, finished: this.#after(microphone.open(), utterance), end };
  }

  /**
   * How an utterance went, unless its source failed: then what came of it is said, and that is thrown.
   * @param {Promise<void>} source @param {import("./utterance.js").Utterance} utterance
   */
  async #after(source, utterance) {
    try {
      await source;
    } catch (error) {
      this.player.line.complete(utterance);
      throw error;
    }
    return utterance.finished;
  }

  /** @param {EventTarget} target @param {string} name */
  #forward(target, name) {
    target.addEventListener(name, (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      this.dispatchEvent(new CustomEvent(name, { detail }));
    });
  }
}
