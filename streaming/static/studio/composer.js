/** Speaking: a text, a sample, a file, the microphone; and being interrupted. */

import { Microphone, MicrophoneRefused } from "../avatar/microphone.js";
import { decodeSpeech } from "../avatar/pcm.js";
import { SpeechGate } from "../avatar/speech-gate.js";
import { element, on } from "./elements.js";
import { request } from "./requests.js";
import { SpeechSynthesis } from "./speech-synthesis.js";
import { VOICES } from "./voices.js";

const LONGEST_S = 600;

export class Composer {
  #message = element("message", HTMLElement);
  #interrupt = element("interrupt", HTMLButtonElement);
  #hello = element("hello", HTMLButtonElement);
  #talk = element("talk", HTMLButtonElement);
  #openMic = element("open-mic", HTMLButtonElement);
  #synthesis = new SpeechSynthesis();
  #microphone;
  #gate = new SpeechGate();
  #isHeld = false;
  #isOpen = false;
  /** @param {string} sentence */
  #warn = (sentence) => this.#say(sentence, true);

  /**
   * @param {import("../avatar/client.js").AvatarClient} client
   * @param {import("../avatar/player.js").AvatarPlayer} player
   */
  constructor(client, player) {
    this.client = client;
    this.player = player;
    this.#microphone = new Microphone((chunk, level) => {
      this.#talk.style.setProperty("--level", String(level));
      this.#hear(chunk);
    });
    this.#offerText();
    this.#offerSamples();
    this.#offerFiles();
    this.#offerMicrophone();
    this.#interrupt.addEventListener("click", () => {
      player.interrupt();
      this.#interrupt.hidden = true;
    });
    on(player, "shown", () => {
      this.#interrupt.hidden = player.line.queuedSamples === 0;
    });
    on(client, "problem", ({ code, message, details }) => {
      if (details?.reason !== "no_worker" && client.status.name === "live")
        this.#say(`${message} (${code})`);
    });
    on(player, "trouble", (sentence) => this.#say(sentence));
  }

  /** @param {string} sentence @param {boolean} [isCalm] */
  #say(sentence, isCalm = false) {
    this.#message.textContent = sentence;
    this.#message.classList.toggle("calm", isCalm);
    this.#message.hidden = sentence === "";
  }

  /**
   * Speak what `make` makes; a click is what allows sound, so it is unlocked first.
   * @param {string} label @param {() => Promise<Int16Array>} make
   */
  async #speak(label, make) {
    this.#hello.hidden = true;
    this.#say("");
    const unlocked = this.player.unlockSound();
    try {
      const pcm = await make();
      const isHeard = await unlocked;
      if (pcm.length === 0) throw new Error("There is nothing to be heard in it.");
      if (pcm.length > LONGEST_S * 16_000)
        throw new Error("That is longer than ten minutes; send a shorter file.");
      this.player.speak(pcm, label);
      if (!isHeard) this.#say("There is no sound: this browser finds no loudspeaker to open.", true);
    } catch (error) {
      this.#say(error instanceof Error ? error.message : String(error));
    }
  }

  #offerText() {
    const text = element("text", HTMLTextAreaElement);
    const voice = element("voice", HTMLSelectElement);
    for (const [name, { label }] of Object.entries(VOICES)) voice.add(new Option(label, name));
    const own = Object.keys(VOICES).find(
      (name) => name.slice(0, 2) === navigator.language.slice(0, 2),
    );
    if (own) voice.value = own;
    const say = element("say", HTMLButtonElement);
    element("text-form", HTMLFormElement).addEventListener("submit", async (event) => {
      event.preventDefault();
      const words = text.value.trim();
      if (!words) {
        text.focus();
        return;
      }
      say.disabled = true;
      await this.#speak(words, () => this.#synthesis.speak(words, voice.value));
      say.disabled = false;
      text.select();
    });
    text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      text.form?.requestSubmit();
    });
  }

  #offerSamples() {
    const buttons = [
      .../** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-sample]")),
    ];
    for (const button of buttons)
      button.addEventListener("click", () => {
        const label = button.textContent?.trim() ?? "sample";
        return this.#speak(label, async () => {
          const response = await request(/** @type {string} */ (button.dataset.sample));
          if (!response.ok)
            throw new Error(`The sample could not be loaded (HTTP ${response.status}).`);
          return decodeSpeech(await response.arrayBuffer(), this.#warn);
        });
      });
    const own = buttons.find(({ lang }) => lang === navigator.language.slice(0, 2)) ?? buttons[0];
    this.#hello.addEventListener("click", () => own.click());
    on(this.player, "view", () => {
      this.#hello.hidden = this.player.sound.isUnlocked;
    });
  }

  #offerFiles() {
    const input = element("file", HTMLInputElement);
    const stage = element("stage", HTMLElement);
    /** @param {File | undefined | null} file */
    const speak = (file) => file && this.#speak(file.name, () => decodeSpeech(file, this.#warn));
    input.addEventListener("change", () => {
      speak(input.files?.[0]);
      input.value = "";
    });
    let depth = 0; // dragging over a child leaves its parent
    document.addEventListener("dragenter", () =>
      stage.classList.toggle("is-dropping", ++depth > 0),
    );
    document.addEventListener("dragleave", () =>
      stage.classList.toggle("is-dropping", --depth > 0),
    );
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      depth = 0;
      stage.classList.remove("is-dropping");
      speak(event.dataTransfer?.files[0]);
    });
  }

  /** @param {Int16Array} chunk of the microphone */
  #hear(chunk) {
    if (this.client.status.name !== "live") return;
    if (this.#isHeld) this.player.pour(chunk);
    else if (this.#isOpen) {
      for (const passed of this.#gate.pass(chunk)) this.player.pour(passed);
      if (!this.#gate.isOpen) this.player.endPouring();
    }
  }

  #offerMicrophone() {
    const hold = async () => {
      this.#isHeld = true;
      await this.#openMicrophone();
    };
    const release = () => {
      if (!this.#isHeld) return;
      this.#isHeld = false;
      this.#closeMicrophone();
    };
    this.#talk.addEventListener("pointerdown", (event) => {
      this.#talk.setPointerCapture(event.pointerId);
      hold();
    });
    this.#talk.addEventListener("pointerup", release);
    this.#talk.addEventListener("pointercancel", release);
    this.#talk.addEventListener("keydown", (event) => {
      if ((event.key === " " || event.key === "Enter") && !event.repeat) hold();
    });
    this.#talk.addEventListener("keyup", release);
    this.#talk.addEventListener("blur", release);
    // On phones a long press would open a menu.
    this.#talk.addEventListener("contextmenu", (event) => event.preventDefault());
    this.#openMic.addEventListener("click", async () => {
      this.#isOpen = !this.#isOpen;
      if (this.#isOpen) await this.#openMicrophone();
      else this.#closeMicrophone();
    });
  }

  async #openMicrophone() {
    this.#hello.hidden = true;
    this.#say("");
    try {
      await Promise.all([this.player.unlockSound(), this.#microphone.open()]);
      this.#closeMicrophone(); // the button may have been released by now
      if (this.#isOpen)
        this.#say("The microphone is open. With loudspeakers, hold to talk works better.", true);
    } catch (error) {
      this.#isHeld = this.#isOpen = false;
      this.#microphone.close();
      if (!(error instanceof MicrophoneRefused)) throw error;
      this.#say(error.message);
    }
    this.#showMicrophone();
  }

  #closeMicrophone() {
    if (!this.#isHeld && !this.#isOpen) {
      this.#microphone.close();
      this.player.endPouring();
      if (this.#message.classList.contains("calm")) this.#say("");
    }
    this.#showMicrophone();
  }

  #showMicrophone() {
    this.#talk.setAttribute("aria-pressed", String(this.#isHeld));
    this.#openMic.setAttribute("aria-pressed", String(this.#isOpen));
    if (!this.#microphone.isOpen) this.#talk.style.setProperty("--level", "0");
  }
}
