/** One's own avatar: sends a video or a picture to be prepared, then shows how that goes. */

import { element, on } from "./elements.js";
import { request } from "./requests.js";

export class OwnAvatar {
  #input = element("video", HTMLInputElement);
  #hint = element("own-hint", HTMLElement);
  #user = element("avatar", HTMLInputElement);

  /** @param {import("../avatar/client.js").AvatarClient} client */
  constructor(client) {
    this.client = client;
    this.#input.addEventListener("change", async () => {
      const [file] = this.#input.files ?? [];
      this.#input.value = "";
      if (!file || !this.#user.reportValidity()) return;
      this.#input.disabled = true;
      try {
        await this.#send(file, this.#user.value);
        this.#hint.textContent = "";
      } catch (error) {
        this.#hint.textContent = error instanceof Error ? error.message : String(error);
      }
      this.#input.disabled = false;
    });
    on(client, "status", ({ name, problem }) => {
      if (name === "live") this.#hint.textContent = "";
      if (problem?.details?.reason === "failed") this.#explain();
    });
  }

  /** The stream says that the preparation failed; its own address says why. */
  async #explain() {
    const { token, userId } = this.client;
    const response = await request(this.#target(userId), { token }).catch(() => undefined);
    const { error } = (await response?.json().catch(() => undefined)) ?? {};
    if (error) this.#hint.textContent = error.message;
  }

  /** @param {string} userId */
  #target(userId) {
    const target = /** @type {string} */ (this.#input.dataset.target);
    return target.replace("USER", encodeURIComponent(userId));
  }

  /** @param {File} file @param {string} userId @throws {Error} with a sentence */
  async #send(file, userId) {
    if (userId === document.getElementById("main")?.dataset.user)
      throw new Error(`Write a name of your own above first: ${userId} is everybody's.`);
    this.#hint.textContent = `Sending ${file.name} …`;
    const form = new FormData();
    form.append(file.type.startsWith("image/") ? "image" : "video", file);
    const csrf = /** @type {HTMLInputElement} */ (
      document.querySelector("#avatar-form [name=csrfmiddlewaretoken]")
    );
    const response = await request(this.#target(userId), {
      method: "POST",
      headers: { Accept: "application/json", "X-CSRFToken": csrf.value },
      token: this.client.token,
      body: form,
    });
    if (!response.ok) {
      const { detail } = await response.json().catch(() => ({}));
      throw new Error(detail ?? `The server did not take it (HTTP ${response.status}).`);
    }
    // The stage tells from here on how far the preparation is, and shows the avatar at its end.
    /** @type {HTMLFormElement} */ (this.#user.form).requestSubmit();
  }
}
