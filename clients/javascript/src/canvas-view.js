/**
 * Pictures by WebCodecs: decoded as they come, drawn on a canvas when they are due.
 *
 * Annex B goes in as it is: a decoder configured without `description` reads SPS and PPS in band.
 * Background pages draw nothing, so what is decoded is let go as soon as it is overdue: a page that
 * comes back shows the present at once. A decoder whose pictures come out too late gets no more
 * until it is through with what it has and an IDR comes: then it is in time again. A mouth that stands
 * still for a moment is better than one that follows its voice by seconds.
 */

const OVERLOADED = 40; // pictures in the decoder
const BEHIND = 5; // pictures in the decoder: fewer are there soon
const LATE_MS = 120;
const LATE_FOR_MS = 300; // after a moment in which nothing ran, all come out at once
const REFRESH_MS = 1000 / 60;

/**
 * @typedef {import("./frame.js").AvatarFrame} AvatarFrame
 * @typedef {{picture: VideoFrame, frame: AvatarFrame, dueMs: number}} Ready
 *
 * @typedef {object} ViewReport
 * @property {(frame: AvatarFrame, shownMs: number, dueMs: number) => void} shown
 * @property {(frame: AvatarFrame, tookMs: number) => void} decoded
 * @property {(count: number) => void} skipped decoded too late to be drawn
 * @property {(sentence: string) => void} failed
 */

export class CanvasView {
  kind = "WebCodecs";
  /** The smallest delay that the jitter buffer may choose, in ms. */
  smallestDelayMs = 80;
  /** @type {VideoDecoder | undefined} */
  #decoder;
  #needsIdr = true;
  /** @type {Map<number, {frame: AvatarFrame, dueMs?: number, begunMs: number, stretch: number}>} by timestamp in µs */
  #decoding = new Map();
  /** @type {Ready[]} */
  #ready = [];
  /** @type {AvatarFrame[]} since the last IDR, too late to be seen but needed to continue */
  #stale = [];
  #isFirst = true;
  #stretch = 0; // of frames that refer to each other
  /** @type {number | undefined} since when pictures of this stretch come out late */
  #lateSinceMs;
  #animation = 0;
  #refreshMs = REFRESH_MS;
  #lastRefreshMs = 0;

  /** @param {string} codec @returns {Promise<boolean>} */
  static async isSupported(codec) {
    if (typeof VideoDecoder === "undefined") return false;
    try {
      return (
        (await VideoDecoder.isConfigSupported({ codec, optimizeForLatency: true })).supported ??
        false
      );
    } catch {
      return false;
    }
  }

  /**
   * @param {HTMLElement} container
   * @param {{codec: string, width: number, height: number}} video
   * @param {import("./media-clock.js").MediaClock} clock
   * @param {ViewReport} report
   */
  constructor(container, video, clock, report) {
    this.codec = video.codec;
    this.clock = clock;
    this.report = report;
    // The canvas of an earlier session keeps its last picture until the new one's first.
    const canvas = container.querySelector("canvas") ?? document.createElement("canvas");
    if (canvas.width !== video.width || canvas.height !== video.height)
      [canvas.width, canvas.height] = [video.width, video.height];
    if (!canvas.isConnected) container.replaceChildren(canvas);
    this.element = canvas;
    this.drawing = /** @type {CanvasRenderingContext2D} */ (
      canvas.getContext("2d", { alpha: false })
    );
    this.#animation = requestAnimationFrame(this.#draw);
  }

  /** @param {AvatarFrame} frame @param {number} dueMs @param {boolean} isStale not to be seen any more */
  push(frame, dueMs, isStale) {
    if (isStale) {
      if (frame.isIdr) this.#stale = [];
      this.#stale.push(frame);
      return;
    }
    // Behind an IDR nothing older is needed; else all of it since the last one.
    if (!frame.isIdr) for (const earlier of this.#stale) this.#decode(earlier);
    this.#stale = [];
    this.#decode(frame, dueMs);
    if (document.hidden) this.#letGoOverdue();
  }

  close() {
    cancelAnimationFrame(this.#animation);
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    for (const { picture } of this.#ready) picture.close();
    this.#ready = [];
    this.#decoding.clear();
  }

  /** @param {AvatarFrame} frame @param {number} [dueMs] never, without */
  #decode(frame, dueMs) {
    if (!this.#decoder || this.#decoder.state === "closed") this.#startDecoder();
    const decoder = /** @type {VideoDecoder} */ (this.#decoder);
    if (decoder.decodeQueueSize > OVERLOADED) this.#needsIdr = true;
    if (this.#needsIdr && !(frame.isIdr && this.#decoding.size < BEHIND)) {
      this.report.skipped(1);
      return;
    }
    if (this.#needsIdr) {
      this.#stretch += 1;
      this.#lateSinceMs = undefined;
    }
    this.#needsIdr = false;
    const timestamp = frame.timestampMs * 1000;
    const begunMs = performance.now();
    this.#decoding.set(timestamp, { frame, dueMs, begunMs, stretch: this.#stretch });
    const type = frame.isIdr ? "key" : "delta";
    decoder.decode(new EncodedVideoChunk({ type, timestamp, data: frame.accessUnit }));
  }

  #startDecoder() {
    this.#needsIdr = true;
    this.#decoding.clear();
    this.#decoder = new VideoDecoder({
      output: (picture) => this.#decoded(picture),
      error: (error) =>
        this.report.failed(`The decoder failed (${error.message}); it starts over.`),
    });
    this.#decoder.configure({ codec: this.codec, optimizeForLatency: true });
  }

  /** @param {VideoFrame} picture */
  #decoded(picture) {
    const known = this.#decoding.get(picture.timestamp);
    for (const timestamp of this.#decoding.keys()) {
      if (timestamp > picture.timestamp) break;
      this.#decoding.delete(timestamp); // they come in order: what is older will not
    }
    if (known?.dueMs === undefined) {
      picture.close();
      return;
    }
    this.report.decoded(known.frame, performance.now() - known.begunMs);
    // What it was given before it was last spared says nothing of how it is now.
    if (known.stretch === this.#stretch) this.#spare(this.clock.now() - known.dueMs);
    // A page that was just opened waits for nothing.
    const dueMs = this.#isFirst ? this.clock.now() : known.dueMs;
    this.#isFirst = false;
    this.#ready.push({ picture, frame: known.frame, dueMs });
  }

  /** Give the decoder nothing until the next IDR if it is behind. @param {number} lateMs */
  #spare(lateMs) {
    const nowMs = this.clock.now();
    this.#lateSinceMs = lateMs > LATE_MS ? (this.#lateSinceMs ?? nowMs) : undefined;
    const lateForMs = nowMs - (this.#lateSinceMs ?? nowMs);
    if (lateForMs > LATE_FOR_MS && this.#decoding.size >= BEHIND) this.#needsIdr = true;
  }

  #letGoOverdue() {
    while (this.#ready.length > 1 && this.#ready[1].dueMs <= this.clock.now())
      /** @type {Ready} */ (this.#ready.shift()).picture.close();
  }

  #draw = () => {
    this.#animation = requestAnimationFrame(this.#draw);
    const now = this.clock.now();
    const sinceLast = now - this.#lastRefreshMs;
    this.#lastRefreshMs = now;
    if (sinceLast > 4 && sinceLast < 40) this.#refreshMs += (sinceLast - this.#refreshMs) * 0.05;
    // What is drawn now is seen at the next refresh; half of one early is as good as half late.
    const seenMs = now + this.#refreshMs;
    let count = 0;
    while (count < this.#ready.length && this.#ready[count].dueMs <= seenMs + this.#refreshMs / 2)
      count++;
    if (count === 0) return;
    const passed = this.#ready.splice(0, count);
    const { picture, frame, dueMs } = /** @type {Ready} */ (passed.pop());
    this.drawing.drawImage(picture, 0, 0, this.element.width, this.element.height);
    picture.close();
    for (const skipped of passed) skipped.picture.close();
    if (passed.length > 0 && sinceLast < 500) this.report.skipped(passed.length);
    this.report.shown(frame, seenMs, dueMs);
  };
}
