/** The library defines `globalThis.muxjs` and exports nothing. */
export {};
