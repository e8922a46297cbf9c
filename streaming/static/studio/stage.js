/** The stage: what the connection is doing, said over the picture; sound on and off. */

import { element, on } from "./elements.js";

/** @typedef {import("../avatar/client.js").Status} Status */

const BADGES = {
  off: "Connecting",
  connecting: "Connecting",
  waiting: "Waiting for a worker",
  live: "Live",
  retrying: "Reconnecting",
  stopped: "Not connected",
};
/** What is said when a session has ended, by the close code. @type {Record<number, string>} */
const FAREWELLS = {
  4408: "Nothing was asked of the avatar for long, or the session lasted as long as it may.",
  4409: "An operator of the server ended it.",
};
const TRYING = "Trying now.";
/** A short wait is not worth a word. */
const NOTICE_DELAY_MS = 350;

/**
 * What is said when there is no live picture.
 * @typedef {object} Notice
 * @property {string} title
 * @property {string} text
 * @property {boolean} [isBusy]
 * @property {number} [percent]
 * @property {string} [button]
 * @property {boolean} [asksToken]
 */

/** Write what differs: a notice is read aloud whenever it is written. @param {string} id @param {string} text */
function write(id, text) {
  const place = element(id, HTMLElement);
  if (place.textContent !== text) place.textContent = text;
}

/** @param {Status} status @returns {Notice} */
function noticeOf({ name, reason, problem, closeCode, keptUntilMs }) {
  if (keptUntilMs !== undefined)
    return {
      title: reason === "shutdown" ? "The server is restarting" : "Reconnecting",
      text: "The session is kept: what was not said yet is said when the connection is back.",
      isBusy: true,
      button: "Try now",
    };
  if (name === "waiting")
    return {
      title: "Waiting for a worker",
      text:
        problem?.message ??
        "The connection stands, but no pictures come. They continue as soon as a worker is there.",
      isBusy: true,
    };
  if (name === "connecting" || name === "off")
    return { title: "Connecting", text: "The avatar is on its way.", isBusy: true };
  switch (reason) {
    case "busy":
      return {
        title: "All seats are taken",
        text: problem?.message ?? "The server is full just now.",
        isBusy: true,
        button: "Try now",
      };
    case "shutdown":
      return {
        title: "The server is restarting",
        text: "The stream continues by itself when it is back.",
        isBusy: true,
        button: "Try now",
      };
    case "avatar": {
      const { reason: why, percent } = problem?.details ?? {};
      if (why === "preparing")
        return {
          title: "This avatar is being prepared",
          text: "It appears here when it is ready.",
          percent: percent ?? 0,
        };
      const title =
        why === "failed" ? "This avatar could not be prepared" : "There is no avatar here";
      return { title, text: problem?.message ?? "Choose another one.", button: "Try again" };
    }
    case "unwatchable":
      return { title: "This session cannot be watched", text: problem?.message ?? "It has ended." };
    case "token":
      return {
        title: "A token is needed",
        text: problem?.message ?? "This server asks who you are.",
        asksToken: true,
      };
    case "ended":
      return closeCode === 4409 && problem?.details?.reason !== "ended_by_operator"
        ? {
            title: "Opened elsewhere",
            text: "This session continues in a newer window.",
            button: "Take it back",
          }
        : {
            title: "The session has ended",
            text: FAREWELLS[closeCode ?? 0] ?? "Good-bye!",
            button: "Connect again",
          };
    default:
      return {
        title: "The connection was lost",
        text: "The server does not answer.",
        isBusy: true,
        button: "Try now",
      };
  }
}

export class Stage {
  #stage = element("stage", HTMLElement);
  #veil = element("veil", HTMLElement);
  #button = element("notice-button", HTMLButtonElement);
  #mute = element("mute", HTMLButtonElement);
  #clip = element("clip", HTMLElement);
  #dot = /** @type {HTMLElement} */ (document.querySelector("#status .dot"));
  #countdown = 0;
  #noticeTimer = 0;

  /**
   * @param {import("../avatar/client.js").AvatarClient} client
   * @param {import("../avatar/player.js").AvatarPlayer} player
   */
  constructor(client, player) {
    this.client = client;
    on(client, "status", (status) => this.#show(status));
    on(player, "view", ({ kind }) => {
      const decoder = element("decoder", HTMLElement);
      decoder.textContent = kind;
      decoder.hidden = false;
    });
    on(player, "unsupported", (sentence) => {
      client.close();
      this.#write({ title: "This browser cannot show the avatar", text: sentence }, client.status);
    });
    on(player, "shown", ({ frame }) => {
      this.#dot.classList.toggle("speaking", frame.audioTimestampMs !== undefined);
      this.#clip.textContent = frame.clip;
      this.#clip.hidden = false;
      this.#stage.dataset.picture = "shown";
    });
    this.#button.addEventListener("click", () => client.retryNow());
    element("token-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      client.token = element("token", HTMLInputElement).value;
      sessionStorage.setItem("token", client.token);
      client.connect();
    });
    this.#mute.addEventListener("click", () => {
      player.isMuted = !player.isMuted;
      this.#mute.setAttribute("aria-pressed", String(player.isMuted));
    });
  }

  /** @param {Status} status */
  #show(status) {
    clearInterval(this.#countdown);
    clearTimeout(this.#noticeTimer);
    const isAgain = status.name === "connecting" && Boolean(status.attempt);
    element("status-text", HTMLElement).textContent = BADGES[isAgain ? "retrying" : status.name];
    if (status.name === "live") {
      this.#stage.dataset.status = status.name;
      this.#veil.hidden = true;
      return;
    }
    const show = () => {
      this.#stage.dataset.status = status.name;
      this.#write(noticeOf(status), status);
    };
    // Between two attempts the words stay as they are; the first one may be over in a moment.
    if (isAgain) {
      if (element("notice-progress", HTMLProgressElement).hidden) write("notice-next", TRYING);
    } else if (status.name === "connecting") this.#noticeTimer = setTimeout(show, NOTICE_DELAY_MS);
    else show();
  }

  /** @param {Notice} notice @param {Status} status */
  #write(notice, status) {
    write("notice-title", notice.title);
    write("notice-text", notice.text);
    element("spinner", HTMLElement).hidden = !notice.isBusy;
    const progress = element("notice-progress", HTMLProgressElement);
    progress.hidden = notice.percent === undefined;
    progress.value = notice.percent ?? 0;
    const form = element("token-form", HTMLFormElement);
    form.hidden = !notice.asksToken;
    this.#button.hidden = !notice.button;
    write("notice-button", notice.button ?? "");
    this.#veil.hidden = false;
    if (notice.asksToken) element("token", HTMLInputElement).focus();
    this.#count(notice, status);
  }

  /**
   * What changes all the time is not part of what is read aloud.
   * @param {Notice} notice @param {Status} status
   */
  #count({ percent }, { retryAtMs }) {
    if (percent !== undefined || retryAtMs === undefined) {
      write("notice-next", percent === undefined ? "" : `${percent}\u00a0% done.`);
      return;
    }
    const count = () => {
      const seconds = Math.ceil((retryAtMs - performance.now()) / 1000);
      write("notice-next", seconds > 0 ? `Next try in ${seconds}\u00a0s.` : TRYING);
    };
    count();
    this.#countdown = setInterval(count, 500);
  }
}
