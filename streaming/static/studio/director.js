/** Directing: whose avatar, which clip, which action. */

import { element, on } from "./elements.js";
import { request } from "./requests.js";

/** @type {[state: string, title: string][]} */
const STATES = [
  ["idle", "Listening"],
  ["speaking", "Speaking"],
  ["action", "Actions"],
];

export class Director {
  #clips = element("clips", HTMLElement);
  #user = element("avatar", HTMLInputElement);
  #onAir = "";

  /** @param {import("../avatar/client.js").AvatarClient} client */
  constructor(client) {
    this.client = client;
    this.#user.value = client.userId;
    element("avatar-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      client.userId = this.#user.value;
      const url = new URL(location.href);
      url.searchParams.set("avatar", client.userId);
      history.replaceState(null, "", url);
      client.connect();
    });
    this.#user.addEventListener("focus", () => this.#offerAvatars(), { once: true });
    on(client, "open", (opened) => this.#offer(opened));
    on(client, "frame", ({ clip }) => this.#mark(clip));
    on(client, "state", ({ current_video }) => this.#press(current_video));
    on(client, "status", ({ name }) => {
      for (const button of this.#buttons()) button.disabled = name !== "live";
    });
  }

  /** Fill the list of the field, if the server tells whom it knows. */
  async #offerAvatars() {
    const list = element("avatars", HTMLDataListElement);
    if (!list.dataset.source) return;
    const headers = { Accept: "application/json" };
    const { token } = this.client;
    const response = await request(list.dataset.source, { headers, token }).catch(() => undefined);
    if (!response?.ok) return; // a name can still be typed
    for (const { user_id, status } of await response.json())
      list.append(new Option(status === "ready" ? user_id : `${user_id} (${status})`, user_id));
  }

  #buttons() {
    return this.#clips.querySelectorAll("button");
  }

  /** @param {import("../avatar/client.js").InitSuccess} opened */
  #offer({ available_videos: names, clip_titles: titles = {} }) {
    this.#onAir = "";
    this.#clips.replaceChildren(
      ...STATES.map(([state, title]) => {
        const row = document.createElement("div");
        row.className = "row";
        row.role = "group";
        row.ariaLabel = title;
        for (const name of names.filter((name) => name.startsWith(`${state}_`)))
          row.append(this.#clipButton(state, name, titles[name]));
        const heading = document.createElement("h3");
        heading.textContent = title;
        const section = document.createElement("section");
        section.append(heading, row);
        section.hidden = !row.hasChildNodes();
        return section;
      }),
    );
  }

  /** @param {string} state @param {string} name @param {string} [title] */
  #clipButton(state, name, title) {
    const number = Number(name.slice(state.length + 1));
    // Actions count from 1, the other clips from 0.
    const plain = state === "action" ? `Action ${number}` : `Clip ${number + 1}`;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.clip = name;
    button.title = name;
    button.textContent = title ? title[0].toUpperCase() + title.slice(1) : plain;
    if (state === "action") {
      button.addEventListener("click", () =>
        this.client.startAction(/** @type {1 | 2} */ (number)),
      );
    } else {
      button.addEventListener("click", () => this.client.changeState(state, name));
    }
    return button;
  }

  /** What is seen. @param {string} clip */
  #mark(clip) {
    if (clip === this.#onAir) return;
    this.#onAir = clip;
    for (const button of this.#buttons())
      button.classList.toggle("on-air", button.dataset.clip === clip);
  }

  /** What was asked for. @param {string} clip */
  #press(clip) {
    for (const button of this.#buttons())
      button.setAttribute("aria-pressed", String(button.dataset.clip === clip));
  }
}
