/**
 * `<talking-avatar server="https://avatars.example" user="me"></talking-avatar>`
 *
 * | attribute | meaning |
 * |---|---|
 * | `user` | whose avatar; without it nothing is connected |
 * | `server` | default: where the page came from |
 * | `token` | where the server asks for one |
 * | `watch-session`, `watch-token` | see and hear this session of `user` |
 * | `allow-watchers` | `element.avatar.watchToken` then lets others watch |
 * | `muted` | silent |
 *
 * `element.avatar` is the `TalkingAvatar`; its events are the element's too. A change of an attribute
 * connects again, except `muted`. `data-status` has the name of the connection's status, for CSS;
 * `::part(notice)` is what says why nothing moves, `::part(sound)` the button that allows sound.
 */

import { TalkingAvatar } from "./talking-avatar.js";

const EVENTS = [
  ...["status", "open", "resumed", "session-lost", "speech-started", "speech-finished", "state"],
  ...["action", "interrupted", "warning", "problem", "view", "shown", "trouble", "unsupported"],
];

/** A short wait is not worth a word. */
const NOTICE_DELAY_MS = 600;

const NOTICES = /** @type {Record<string, string>} */ ({
  connecting: "Connecting",
  waiting: "Waiting for pictures",
  retrying: "Reconnecting",
  stopped: "Not connected",
});

const SHADOW = `
  <style>
    :host { display: inline-block; position: relative; width: 512px; aspect-ratio: 1; }
    :host([hidden]) { display: none; }
    #picture, #picture > * { display: block; width: 100%; height: 100%; object-fit: cover; border-radius: inherit; }
    [part] {
      position: absolute; left: 50%; bottom: 4%; translate: -50%; max-width: 90%;
      padding: 0.4em 0.9em; border: 0; border-radius: 2em;
      font: 500 0.9rem/1.3 system-ui, sans-serif; color: #fff; background: rgb(0 0 0 / 65%);
    }
    [part="sound"] { bottom: auto; top: 4%; cursor: pointer; }
    [hidden] { display: none; }
  </style>
  <div id="picture" role="img" aria-label="Talking avatar"></div>
  <span part="notice" role="status" hidden></span>
  <button part="sound" type="button" hidden>Sound on</button>`;

export class TalkingAvatarElement extends HTMLElement {
  static observedAttributes = [
    ...["server", "user", "token", "watch-session", "watch-token", "allow-watchers", "muted"],
  ];

  /** @type {TalkingAvatar | undefined} */
  #avatar;
  #picture;
  #notice;
  #sound;
  #noticeTimer = 0;
  #isStale = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = SHADOW;
    this.#picture = /** @type {HTMLElement} */ (root.querySelector("#picture"));
    this.#notice = /** @type {HTMLElement} */ (root.querySelector("[part=notice]"));
    this.#sound = /** @type {HTMLElement} */ (root.querySelector("[part=sound]"));
    this.#sound.addEventListener("click", () => this.unlockSound());
  }

  /** The avatar, while the element is in the page and has a `user`. */
  get avatar() {
    return this.#avatar;
  }

  connectedCallback() {
    this.#start();
  }

  disconnectedCallback() {
    this.#stop();
  }

  /** @param {string} name @param {string | null} before @param {string | null} after */
  attributeChangedCallback(name, before, after) {
    if (before === after || !this.isConnected) return;
    if (name === "muted") {
      if (this.#avatar) this.#avatar.isMuted = after !== null;
      return;
    }
    // Several attributes that are set at once are one change.
    if (this.#isStale) return;
    this.#isStale = true;
    queueMicrotask(() => {
      this.#isStale = false;
      if (this.isConnected) this.#start();
    });
  }

  /**
   * Say something, see `TalkingAvatar.speak`.
   * @param {import("./speech-source.js").Speech} speech
   * @param {import("./talking-avatar.js").SpeakOptions} [options]
   */
  speak(speech, options) {
    if (!this.#avatar) throw new Error("<talking-avatar> needs the attribute user to speak.");
    return this.#avatar.speak(speech, options);
  }

  /** Be silent, and drop what is queued. */
  interrupt() {
    this.#avatar?.interrupt();
  }

  /** @param {boolean} active whether the user speaks */
  userSpeaking(active) {
    this.#avatar?.userSpeaking(active);
  }

  /** To be called in answer to a click or a key. @returns {Promise<boolean>} */
  async unlockSound() {
    const isHeard = (await this.#avatar?.unlockSound()) ?? false;
    if (isHeard) this.#sound.hidden = true;
    return isHeard;
  }

  #start() {
    this.#stop();
    const read = (/** @type {string} */ name) => this.getAttribute(name) ?? undefined;
    const [user, sessionId, watchToken] = [read("user"), read("watch-session"), read("watch-token")];
    if (!user) return;
    const avatar = new TalkingAvatar({
      container: this.#picture,
      user,
      server: read("server"),
      token: read("token"),
      allowWatchers: this.hasAttribute("allow-watchers"),
      watch: sessionId && watchToken ? { sessionId, token: watchToken } : undefined,
    });
    this.#avatar = avatar;
    avatar.isMuted = this.hasAttribute("muted");
    for (const name of EVENTS)
      avatar.addEventListener(name, (event) => {
        const { detail } = /** @type {CustomEvent} */ (event);
        if (name === "status") this.#show(detail);
        if (name === "unsupported") this.#say(detail);
        this.dispatchEvent(new CustomEvent(name, { detail }));
      });
    // Who watches clicks nothing by itself, and browsers allow no sound before a click.
    this.#sound.hidden = !avatar.client.watch;
    avatar.connect();
  }

  #stop() {
    clearTimeout(this.#noticeTimer);
    this.#avatar?.close();
    this.#avatar = undefined;
  }

  /** @param {import("./client.js").Status} status */
  #show({ name, attempt, problem }) {
    clearTimeout(this.#noticeTimer);
    this.dataset.status = name;
    if (name === "live") {
      this.#notice.hidden = true;
      return;
    }
    const notice = name === "connecting" && attempt ? NOTICES.retrying : NOTICES[name];
    const text = [notice, problem?.message].filter(Boolean).join(": ");
    this.#noticeTimer = setTimeout(() => this.#say(text), NOTICE_DELAY_MS);
  }

  /** @param {string} text */
  #say(text) {
    this.#notice.textContent = text;
    this.#notice.hidden = false;
  }
}

customElements.define("talking-avatar", TalkingAvatarElement);
