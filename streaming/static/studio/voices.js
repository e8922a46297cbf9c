/** The voices that the text field offers: a language each, its files under vendor/svoxpico/voices. */

/** @type {Record<string, {label: string, lang: string, files: [string, string]}>} */
export const VOICES = {
  "en-GB": { label: "English", lang: "en", files: ["en-GB_ta.bin", "en-GB_kh0_sg.bin"] },
  "de-DE": { label: "Deutsch", lang: "de", files: ["de-DE_ta.bin", "de-DE_gl0_sg.bin"] },
  "es-ES": { label: "Español", lang: "es", files: ["es-ES_ta.bin", "es-ES_zl0_sg.bin"] },
};
