/**
 * Pictures by Media Source Extensions: for browsers without WebCodecs, and for pages that are not
 * served over https (there browsers have no WebCodecs).
 *
 * Each picture becomes a fragment of MP4 as soon as the next one is known, because then its duration
 * is: a picture that the server left out becomes a longer one before it, never a gap on which the
 * player would halt. The player is led along the live edge by its rate, and by a jump where it
 * is far off.
 */

import { toAvcc } from "./access-unit.js";
import { FRAME_MS } from "./frame.js";
import { FragmentWriter } from "./fragment-writer.js";

const KEPT_S = 6;
const JUMP_S = 0.4;
const RATE_PER_S = 1.5;
const LARGEST_RATE = 0.15;
const LEARN = 0.02;
const LARGEST_LAG_MS = 60;

/**
 * @typedef {import("./frame.js").AvatarFrame} AvatarFrame
 * @typedef {import("./canvas-view.js").ViewReport} ViewReport
 */

const Source = /** @type {typeof MediaSource | undefined} */ (
  globalThis.MediaSource ?? /** @type {any} */ (globalThis).ManagedMediaSource
);

export class MseView {
  kind = "Media Source Extensions";
  // A player wants some pictures in hand before it moves.
  smallestDelayMs = 260;
  /** @type {SourceBuffer | undefined} */
  #buffer;
  /** @type {Uint8Array[]} */
  #unwritten = [];
  /** @type {AvatarFrame | undefined} the last one: its duration is not known yet */
  #held;
  #writer = new FragmentWriter();
  /** @type {Map<number, {frame: AvatarFrame, dueMs: number}>} by timestamp */
  #coming = new Map();
  #lastShownMs = -1;
  /** By how much what is seen lags behind what the player calls its time. */
  #lagMs = 0;
  #isClosed = false;

  /** @param {string} codec */
  static isSupported(codec) {
    return Source?.isTypeSupported(`video/mp4; codecs="${codec}"`) ?? false;
  }

  /**
   * @param {HTMLElement} container
   * @param {{codec: string, width: number, height: number}} video
   * @param {import("./media-clock.js").MediaClock} clock
   * @param {ViewReport} report
   */
  constructor(container, video, clock, report) {
    this.video = video;
    this.clock = clock;
    this.report = report;
    const element = document.createElement("video");
    element.muted = element.playsInline = element.autoplay = true;
    element.disableRemotePlayback = true;
    this.element = element;
    const source = new /** @type {typeof MediaSource} */ (Source)();
    source.addEventListener("sourceopen", () => {
      URL.revokeObjectURL(element.src);
      this.#buffer = source.addSourceBuffer(`video/mp4; codecs="${video.codec}"`);
      this.#buffer.addEventListener("updateend", () => this.#write());
      this.#write();
    });
    element.src = URL.createObjectURL(source);
    element.addEventListener("error", () => {
      if (!this.#isClosed)
        report.failed(`The player failed (${element.error?.message ?? "unknown"}).`);
    });
    element.addEventListener("loadeddata", () => container.replaceChildren(element), {
      once: true,
    });
    this.#watch();
  }

  /** @param {AvatarFrame} frame @param {number} dueMs */
  push(frame, dueMs) {
    this.#coming.set(frame.timestampMs, { frame, dueMs });
    for (const earlier of this.#coming.keys()) {
      if (earlier >= frame.timestampMs - KEPT_S * 1000) break;
      this.#coming.delete(earlier); // hidden pages, and some browsers, never tell what was seen
    }
    const held = this.#held;
    this.#held = frame;
    if (held) this.#fragment(held, Math.max(FRAME_MS, frame.timestampMs - held.timestampMs));
    this.#steer(dueMs - frame.timestampMs);
  }

  close() {
    this.#isClosed = true;
    this.#unwritten = [];
    this.element.removeAttribute("src");
    this.element.load();
  }

  /** @param {AvatarFrame} frame @param {number} durationMs */
  #fragment(frame, durationMs) {
    const { avcc, sps, pps } = toAvcc(frame.accessUnit);
    if (sps && pps) {
      const initial = this.#writer.configure(sps, pps, this.video.width, this.video.height);
      if (initial) this.#unwritten.push(initial);
    }
    if (!this.#writer.isConfigured) return;
    this.#unwritten.push(this.#writer.fragment(avcc, frame.timestampMs, durationMs, frame.isIdr));
    this.#write();
  }

  #write() {
    const buffer = this.#buffer;
    if (!buffer || buffer.updating || this.#isClosed) return;
    const { currentTime, error } = this.element;
    if (error) return;
    if (buffer.buffered.length > 0 && buffer.buffered.start(0) < currentTime - 2 * KEPT_S) {
      buffer.remove(0, currentTime - KEPT_S);
      return;
    }
    if (this.#unwritten.length === 0) return;
    const parts = this.#unwritten.splice(0);
    const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
    let end = 0;
    for (const part of parts) {
      whole.set(part, end);
      end += part.length;
    }
    buffer.appendBuffer(whole);
  }

  /** Lead the player. @param {number} base when the picture of time 0 was due */
  #steer(base) {
    const { element } = this;
    const { buffered } = element;
    if (buffered.length === 0) return;
    const edgeS = buffered.end(buffered.length - 1);
    const wantedMs = this.clock.now() - base + this.#lagMs;
    const wantedS = Math.min(wantedMs / 1000, edgeS - FRAME_MS / 1000);
    const behindS = wantedS - element.currentTime;
    if (Math.abs(behindS) > JUMP_S || element.currentTime < buffered.start(buffered.length - 1)) {
      element.currentTime = Math.max(wantedS, buffered.start(buffered.length - 1));
    } else {
      const change = Math.max(-LARGEST_RATE, Math.min(LARGEST_RATE, behindS * RATE_PER_S));
      element.playbackRate = Math.abs(behindS) < 0.01 ? 1 : 1 + change;
    }
    if (element.paused) element.play().catch(() => {}); // hidden pages may be refused; later then
  }

  #watch() {
    const { element } = this;
    if (!element.requestVideoFrameCallback) return; // nothing to measure with
    /** @type {VideoFrameRequestCallback} */
    const seen = (_now, { mediaTime, expectedDisplayTime }) => {
      if (this.#isClosed) return;
      element.requestVideoFrameCallback(seen);
      const timestampMs = Math.round((mediaTime * 1000) / FRAME_MS) * FRAME_MS;
      const known = this.#coming.get(timestampMs);
      for (const earlier of this.#coming.keys()) {
        if (earlier > timestampMs) break;
        this.#coming.delete(earlier);
        if (earlier > this.#lastShownMs && earlier < timestampMs && this.#lastShownMs >= 0)
          this.report.skipped(1);
      }
      this.#lastShownMs = timestampMs;
      if (!known) return;
      const lateMs = Math.max(
        -LARGEST_LAG_MS,
        Math.min(LARGEST_LAG_MS, expectedDisplayTime - known.dueMs),
      );
      this.#lagMs = Math.max(0, Math.min(LARGEST_LAG_MS, this.#lagMs + lateMs * LEARN));
      this.report.shown(known.frame, expectedDisplayTime, known.dueMs);
    };
    element.requestVideoFrameCallback(seen);
  }
}
