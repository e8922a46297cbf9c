/**
 * The speech of the last and the next seconds on a strip: what was shown, what waits, what was
 * interrupted. The line is now.
 */

import { element, on } from "./elements.js";

const PAST_S = 8;
const FUTURE_S = 6;
const DRAW_EVERY_MS = 80;
const JOIN_MS = 120; // a picture or two left out are no pause

/** @typedef {{fromMs: number, toMs: number}} Span */

export class Timeline {
  #canvas = element("timeline", HTMLCanvasElement);
  #sync = element("sync", HTMLElement);
  /** @type {Span[]} of sound that was shown */
  #shown = [];
  /** @type {Span[]} of sound that was to come when it was interrupted */
  #interrupted = [];
  #drawnMs = 0;
  #wasQueuedMs = 0;
  #silentBefore = 0;

  /** @param {import("../avatar/player.js").AvatarPlayer} player */
  constructor(player) {
    this.player = player;
    on(player, "shown", ({ frame, shownMs }) => {
      if (frame.audioTimestampMs !== undefined && player.line.at(frame.audioTimestampMs))
        this.#add(shownMs);
      this.#noticeInterrupt(shownMs);
      this.#draw(shownMs);
    });
  }

  /** @param {number} atMs */
  #add(atMs) {
    const last = this.#shown.at(-1);
    if (last && atMs - last.toMs < JOIN_MS) last.toMs = atMs + 40;
    else this.#shown.push({ fromMs: atMs, toMs: atMs + 40 });
  }

  /** @param {number} nowMs */
  #noticeInterrupt(nowMs) {
    const { line } = this.player;
    if (line.silentBefore > this.#silentBefore && this.#wasQueuedMs > 0)
      this.#interrupted.push({ fromMs: nowMs, toMs: nowMs + this.#wasQueuedMs });
    this.#silentBefore = line.silentBefore;
    this.#wasQueuedMs = line.queuedSamples / 16;
  }

  /** @param {number} nowMs */
  #draw(nowMs) {
    if (nowMs - this.#drawnMs < DRAW_EVERY_MS) return;
    this.#drawnMs = nowMs;
    const { offsetMs } = this.player.measure();
    const sign = Math.round(offsetMs) < 0 ? "−" : "+";
    const isKnown = !Number.isNaN(offsetMs);
    this.#sync.textContent = isKnown ? `sync ${sign}${Math.abs(Math.round(offsetMs))} ms` : "";

    const canvas = this.#canvas;
    const scale = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    drawing.setTransform(scale, 0, 0, scale, 0, 0);
    drawing.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const perMs = width / ((PAST_S + FUTURE_S) * 1000);
    const x = (/** @type {number} */ atMs) => PAST_S * 1000 * perMs + (atMs - nowMs) * perMs;

    drawing.fillStyle = color("--line");
    for (let second = -PAST_S; second <= FUTURE_S; second++)
      drawing.fillRect(Math.round(x(nowMs + second * 1000)), height - 6, 1, 6);
    const bar = (
      /** @type {Span} */ { fromMs, toMs },
      /** @type {string} */ fill,
      /** @type {boolean} */ isOutlined,
    ) => {
      drawing.beginPath();
      drawing.roundRect(x(fromMs), 11, Math.max(3, (toMs - fromMs) * perMs), height - 22, 5);
      drawing.fillStyle = fill;
      drawing.fill();
      if (!isOutlined) return;
      drawing.strokeStyle = color("--accent");
      drawing.stroke();
    };
    for (const span of this.#shown) bar(span, color("--accent"), false);
    const queuedMs = this.player.line.queuedSamples / 16;
    if (queuedMs > 0) bar({ fromMs: nowMs, toMs: nowMs + queuedMs }, color("--tint"), true);
    drawing.globalAlpha = 0.85;
    for (const span of this.#interrupted) bar(span, color("--bad"), false);
    drawing.globalAlpha = 1;
    drawing.fillStyle = color("--text");
    drawing.fillRect(Math.round(x(nowMs)), 4, 1.5, height - 8);

    const isRecent = (/** @type {Span} */ { toMs }) => toMs > nowMs - PAST_S * 1000;
    this.#shown = this.#shown.filter(isRecent);
    this.#interrupted = this.#interrupted.filter(isRecent);
  }
}
