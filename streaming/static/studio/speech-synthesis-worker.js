/**
 * Text to speech in a worker of the browser, without any server: SVOX Pico, compiled to WebAssembly.
 *
 * Why Pico: a real voice in a megabyte per language, under the Apache license, many times faster
 * than it is spoken. It speaks 16 kHz mono, which is just what the avatar hears.
 *
 * Message in: `{id, text, voice}`, voice one of `VOICES`. Message out: `{id, pcm}` with an
 * Int16Array at 16 kHz, or `{id, error}` with a sentence.
 */

import SvoxPico from "./vendor/svoxpico/svoxpico.js";
import { VOICES } from "./voices.js";

const ARENA_BYTES = 2_500_000; // what Pico's own examples give the engine to work in
const NAME_BYTES = 32;
const READ_BYTES = 1024;
const STEP_IDLE = 200;
const STEP_BUSY = 201;
const MAX_PUT_BYTES = 32_000; // Pico counts bytes in 16 bits

/** @type {Promise<any> | undefined} */
let module;
/** @type {Map<string, Promise<number>>} engines by voice: pointers */
const engines = new Map();
/** @type {number | undefined} */
let system;

function pico() {
  module ??= SvoxPico({
    locateFile: (/** @type {string} */ file) =>
      new URL(`./vendor/svoxpico/${file}`, import.meta.url).href,
  });
  return module;
}

/** @param {any} wasm @param {string | Uint8Array} content @returns {number} pointer, to be freed */
function allocate(wasm, content) {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content + "\0") : content;
  const pointer = wasm._malloc(bytes.length);
  wasm.HEAPU8.set(bytes, pointer);
  return pointer;
}

/** @param {number} status @param {string} doing */
function check(status, doing) {
  if (status !== 0) throw new Error(`The speech synthesizer failed in ${doing} (${status}).`);
}

/** @param {any} wasm @param {string} file @returns {Promise<string>} the resource's name */
async function load(wasm, file) {
  const response = await fetch(new URL(`./vendor/svoxpico/voices/${file}`, import.meta.url));
  if (!response.ok) throw new Error(`The voice file ${file} is missing (${response.status}).`);
  wasm.FS.writeFile(`/${file}`, new Uint8Array(await response.arrayBuffer()));
  const path = allocate(wasm, `/${file}`);
  const out = wasm._malloc(4 + NAME_BYTES);
  check(wasm._pico_loadResource(system, path, out), `loading ${file}`);
  check(wasm._pico_getResourceName(system, wasm.getValue(out, "*"), out + 4), `naming ${file}`);
  const name = wasm.HEAPU8.slice(out + 4, out + 4 + NAME_BYTES);
  wasm._free(path);
  wasm._free(out);
  wasm.FS.unlink(`/${file}`);
  return new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
}

/** @param {any} wasm @param {string} voice @returns {Promise<number>} */
async function makeEngine(wasm, voice) {
  if (system === undefined) {
    const out = wasm._malloc(4);
    check(wasm._pico_initialize(wasm._malloc(ARENA_BYTES), ARENA_BYTES, out), "starting");
    system = wasm.getValue(out, "*");
    wasm._free(out);
  }
  const name = allocate(wasm, voice);
  const resources = [];
  for (const file of VOICES[voice].files) resources.push(await load(wasm, file));
  check(wasm._pico_createVoiceDefinition(system, name), "defining a voice");
  for (const resource of resources) {
    const pointer = allocate(wasm, resource);
    check(wasm._pico_addResourceToVoiceDefinition(system, name, pointer), "building a voice");
    wasm._free(pointer);
  }
  const out = wasm._malloc(4);
  check(wasm._pico_newEngine(system, name, out), "starting a voice");
  const engine = wasm.getValue(out, "*");
  wasm._free(out);
  wasm._free(name);
  return engine;
}

/** @param {any} wasm @param {number} engine @param {string} text @returns {Int16Array<ArrayBuffer>} */
function speak(wasm, engine, text) {
  const encoded = new TextEncoder().encode(text + "\0"); // the zero makes it speak to the end
  const input = allocate(wasm, encoded);
  const output = wasm._malloc(READ_BYTES + 4);
  const parts = [];
  try {
    for (let put = 0; put < encoded.length;) {
      const size = Math.min(encoded.length - put, MAX_PUT_BYTES);
      check(wasm._pico_putTextUtf8(engine, input + put, size, output), "reading the text");
      put += wasm.getValue(output, "i16");
      let status = STEP_BUSY;
      while (status === STEP_BUSY) {
        status = wasm._pico_getData(
          engine,
          output,
          READ_BYTES,
          output + READ_BYTES,
          output + READ_BYTES + 2,
        );
        if (status !== STEP_BUSY && status !== STEP_IDLE) check(status, "speaking");
        const bytes = wasm.getValue(output + READ_BYTES, "i16");
        if (bytes > 0) parts.push(wasm.HEAPU8.slice(output, output + bytes));
      }
    }
  } catch (error) {
    wasm._pico_resetEngine(engine, 0);
    throw error;
  } finally {
    wasm._free(input);
    wasm._free(output);
  }
  const pcm = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    pcm.set(part, end);
    end += part.length;
  }
  return new Int16Array(pcm.buffer);
}

self.onmessage = async ({ data: { id, text, voice } }) => {
  try {
    const wasm = await pico();
    if (!engines.has(voice)) engines.set(voice, makeEngine(wasm, voice));
    const pcm = speak(wasm, /** @type {number} */ (await engines.get(voice)), text);
    self.postMessage({ id, pcm }, { transfer: [pcm.buffer] });
  } catch (error) {
    engines.delete(voice);
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
