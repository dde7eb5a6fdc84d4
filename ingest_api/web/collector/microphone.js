// What the microphone hears: Web Audio → WAV in pieces → device.audio.raw.
// WAV and not what MediaRecorder makes: each piece can be read alone, by every decoder.

import { wav } from "./messages.js";

export const STREAM = "device.audio.raw";
const RATE_HZ = 16_000;
const PIECE_S = 10;
const SOUND = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Starts; gives what stops it. `level` is told how loud it is, 0 to 1. */
export async function start({ keep, tell, fail, level }) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: SOUND });
  const [track] = stream.getAudioTracks();
  const { context, source } = await listen(stream).catch((error) => {
    track.stop();
    throw error;
  });
  const recorder = new AudioWorkletNode(context, "recorder", {
    channelCount: 1,
    channelCountMode: "explicit",
    processorOptions: { seconds: PIECE_S },
  });

  let pieces = 0;
  let kept = Promise.resolve();
  let last = null;
  const keepPiece = async ({ samples, end_s, isLast }) => {
    if (samples.length) {
      const duration_ms = (samples.length * 1_000) / context.sampleRate;
      const begin_ms = Date.now() - (context.currentTime - end_s) * 1_000 - duration_ms;
      const blob = wav(samples, context.sampleRate);
      await keep(STREAM, [[begin_ms, { format: "wav" }]], { blob, blob_field: "data" });
      pieces += 1;
      tell(`${pieces} pieces of ${PIECE_S} s since it was switched on.`);
    }
    if (isLast) last?.();
  };
  recorder.port.onmessage = ({ data }) => {
    if ("peak" in data) level(data.peak);
    else kept = kept.then(() => keepPiece(data));
  };
  source.connect(recorder).connect(context.destination); // it gives silence, but has to be asked
  track.onended = () => fail("The microphone was taken away. Switch it on again.");

  const resume = () => context.resume();
  const sayState = () => {
    if (context.state === "running") tell("Listening.");
    else if (context.state !== "closed") tell("The browser holds the sound back: touch the page.");
  };
  context.onstatechange = sayState;
  addEventListener("pointerdown", resume);
  sayState();

  return async () => {
    removeEventListener("pointerdown", resume);
    if (context.state === "running") {
      const handed = new Promise((resolve) => (last = resolve));
      recorder.port.postMessage("stop");
      await handed;
    }
    await kept;
    track.onended = null;
    track.stop();
    await context.close();
    level(null);
  };
}

/** The microphone and what gathers its samples, ready to be connected. */
async function listen(stream) {
  const { context, source } = atBestRate(stream);
  await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
  return { context, source };
}

/** At 16 kHz where the browser can do that, else at the microphone's own rate. */
function atBestRate(stream) {
  const context = new AudioContext({ sampleRate: RATE_HZ });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error; // Firefox does not convert rates
    context.close();
  }
  const own = new AudioContext();
  return { context: own, source: own.createMediaStreamSource(stream) };
}
