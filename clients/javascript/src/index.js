/** Everything that the library offers. `talking-avatar-element.js` defines the element, by itself. */

export { AvatarClient, streamAddress } from "./client.js";
export { Microphone, MicrophoneRefused } from "./microphone.js";
export { decodeSpeech } from "./pcm.js";
export { AvatarPlayer } from "./player.js";
export { SpeechGate } from "./speech-gate.js";
export { SAMPLE_RATES_HZ } from "./speech-source.js";
export { TalkingAvatar } from "./talking-avatar.js";
