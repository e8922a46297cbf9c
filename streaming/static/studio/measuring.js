/** The numbers of the stream with their last minutes, the events, and a report to copy. */

import { element, on } from "./elements.js";

const EVERY_MS = 1000;
const HISTORY = 120;
const EVENTS = 200;

/**
 * @typedef {import("../avatar/meter.js").Measurement} Measurement
 * @typedef {object} Row
 * @property {string} label
 * @property {string} unit
 * @property {(measured: Measurement) => number} value
 * @property {number} digits
 * @property {number} least the plot reaches at least so high
 * @property {string} help
 */

/** @type {Row[]} */
const ROWS = [
  {
    label: "Pictures",
    unit: "fps",
    value: (m) => m.fps,
    digits: 0,
    least: 30,
    help: "Shown a second; the stream has 25.",
  },
  {
    label: "Latency",
    unit: "ms",
    value: (m) => m.latencyMs,
    digits: 0,
    least: 300,
    help: "From sending speech to its picture, when nothing was queued before it.",
  },
  {
    label: "Sound offset",
    unit: "ms",
    value: (m) => m.offsetMs,
    digits: 0,
    least: 40,
    help: "Picture after (+) or before (−) its sound: median of ten seconds.",
  },
  {
    label: "Jitter",
    unit: "ms",
    value: (m) => m.jitterMs,
    digits: 0,
    least: 40,
    help: "How uneven the frames arrive: 95 % within so much of the quickest.",
  },
  {
    label: "Buffer",
    unit: "ms",
    value: (m) => m.delayMs,
    digits: 0,
    least: 150,
    help: "What the jitter buffer waits to even that out.",
  },
  {
    label: "Received",
    unit: "kB/s",
    value: (m) => m.bytesPerSecond / 1000,
    digits: 0,
    least: 100,
    help: "Frames as they come over the wire.",
  },
  {
    label: "Decoding",
    unit: "ms",
    value: (m) => m.decodeMs,
    digits: 1,
    least: 5,
    help: "Median of a picture in the last second.",
  },
  {
    label: "Dropped",
    unit: "of frames",
    value: (m) => m.dropped,
    digits: 0,
    least: 5,
    help: "Pictures that came too late to be shown.",
  },
];

export class Measuring {
  /** @type {number[][]} by row */
  #history = ROWS.map(() => []);
  /** @type {HTMLElement[]} */
  #values = [];
  /** @type {HTMLCanvasElement[]} */
  #plots = [];
  #events = element("events", HTMLOListElement);
  #view = "none";

  /**
   * @param {import("../avatar/client.js").AvatarClient} client
   * @param {import("../avatar/player.js").AvatarPlayer} player
   */
  constructor(client, player) {
    this.client = client;
    this.player = player;
    this.#build();
    setInterval(() => this.#measure(), EVERY_MS);
    element("copy", HTMLButtonElement).addEventListener("click", (event) =>
      this.#copy(/** @type {HTMLButtonElement} */ (event.currentTarget)),
    );
    on(client, "status", ({ name, reason, closeCode }) =>
      this.#note(
        ["connection", name, reason, closeCode && `(${closeCode})`].filter(Boolean).join(" "),
      ),
    );
    on(client, "open", ({ engine, video }) =>
      this.#note(`session: engine ${engine}, ${video.codec}`),
    );
    on(client, "resumed", () => this.#note("the same session continues"));
    on(client, "session-lost", ({ reason }) =>
      this.#note(`the session before is over (${reason}); another one begins`),
    );
    on(client, "speech-finished", ({ played_ms, interrupted }) =>
      this.#note(`${played_ms} ms said${interrupted ? ", then interrupted" : ""}`),
    );
    on(client, "state", ({ current_video }) => this.#note(`clip ${current_video}`));
    on(client, "action", ({ action_index }) => this.#note(`action ${action_index}`));
    on(client, "interrupted", ({ dropped_ms }) =>
      this.#note(`interrupted: ${dropped_ms} ms dropped`),
    );
    on(client, "problem", ({ code, message }) => this.#note(`${code}: ${message}`));
    on(player, "view", ({ kind }) => this.#note(`decoding by ${(this.#view = kind)}`));
    on(player, "trouble", (sentence) => this.#note(sentence));
  }

  #build() {
    const list = element("numbers", HTMLElement);
    for (const { label, unit, help } of ROWS) {
      const box = document.createElement("div");
      box.title = help;
      const term = document.createElement("dt");
      term.textContent = label;
      const value = document.createElement("dd");
      const number = document.createElement("span");
      number.textContent = "–";
      const small = document.createElement("small");
      small.textContent = unit;
      value.append(number, small);
      const plot = document.createElement("canvas");
      plot.ariaHidden = "true";
      box.append(term, value, plot);
      list.append(box);
      this.#values.push(number);
      this.#plots.push(plot);
    }
  }

  #measure() {
    if (document.hidden) return;
    const measured = this.player.measure();
    ROWS.forEach((row, index) => {
      const value = row.value(measured);
      const history = this.#history[index];
      history.push(value);
      if (history.length > HISTORY) history.shift();
      this.#values[index].textContent = Number.isNaN(value)
        ? "–"
        : value.toFixed(row.digits).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "−");
      drawPlot(this.#plots[index], history, row.least);
    });
  }

  /** @param {string} text */
  #note(text) {
    const time = document.createElement("time");
    const now = new Date();
    time.dateTime = now.toISOString();
    time.textContent = now.toTimeString().slice(0, 8);
    const entry = document.createElement("li");
    entry.append(time, text);
    this.#events.prepend(entry);
    while (this.#events.childElementCount > EVENTS) this.#events.lastElementChild?.remove();
  }

  report() {
    const measured = this.player.measure();
    const numbers = ROWS.map(
      (row) => `${row.label}: ${row.value(measured).toFixed(row.digits)} ${row.unit}`,
    );
    const events = [...this.#events.children].slice(0, 40).map(({ children, textContent }) => {
      const time = children[0].textContent ?? "";
      return `${time} ${textContent?.slice(time.length)}`;
    });
    const { session, status, userId } = this.client;
    return [
      "Talking avatar: report of the studio",
      new Date().toISOString(),
      navigator.userAgent,
      `page ${location.origin}, ${isSecureContext ? "" : "not "}a secure context, ${innerWidth}×${innerHeight} at ${devicePixelRatio}`,
      `user ${userId}, ${status.name}, engine ${session?.engine ?? "–"}, ${session?.video.codec ?? "–"}, ${this.#view}`,
      `frames ${measured.frames}, missing ${measured.missing}, decoder errors ${this.player.meter.errors}`,
      `first picture after ${this.player.meter.firstPictureMs.toFixed(0)} ms, sound offset p95 ${measured.offsetP95Ms.toFixed(0)} ms`,
      "",
      ...numbers,
      "",
      "Events, newest first",
      ...events,
    ].join("\n");
  }

  /** @param {HTMLButtonElement} button */
  async #copy(button) {
    const report = this.report();
    try {
      await navigator.clipboard.writeText(report);
    } catch {
      // Without https there is no clipboard for pages, but a selection can still be copied.
      const area = document.createElement("textarea");
      area.value = report;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy report"), 1500);
  }
}

/** @param {HTMLCanvasElement} canvas @param {number[]} values @param {number} least */
function drawPlot(canvas, values, least) {
  const scale = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  drawing.scale(scale, scale);
  const known = values.filter((value) => !Number.isNaN(value));
  const highest = Math.max(least, ...known);
  const lowest = Math.min(0, ...known);
  drawing.strokeStyle = getComputedStyle(canvas).getPropertyValue("--accent");
  drawing.lineWidth = 1.5;
  drawing.lineJoin = "round";
  drawing.beginPath();
  let isDown = false;
  values.forEach((value, index) => {
    if (Number.isNaN(value)) {
      isDown = false;
      return;
    }
    const x = width - (values.length - 1 - index) * (width / (HISTORY - 1));
    const y = height - 1 - ((value - lowest) / (highest - lowest)) * (height - 3);
    if (isDown) drawing.lineTo(x, y);
    else drawing.moveTo(x, y);
    isDown = true;
  });
  drawing.stroke();
}
