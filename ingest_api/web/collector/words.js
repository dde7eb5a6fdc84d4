// What people are told.

const NAMES = {
  "device.sensor.gps.raw": "Location",
  "device.sensor.accelerometer.raw": "Motion",
  "device.audio.raw": "Sound",
  "device.image.camera.raw": "Photo",
  "digital.notes.raw": "Note",
};
const PLATFORMS = [
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android phone"],
  [/Macintosh/, "Mac"],
  [/Windows/, "Windows computer"],
  [/CrOS/, "Chromebook"],
  [/Linux/, "Linux computer"],
];

export const nameOf = (stream) => NAMES[stream] ?? stream;

/** What a device could be called. */
export const guessName = (userAgent) =>
  PLATFORMS.find(([pattern]) => pattern.test(userAgent))?.[1] ?? "Browser";

export const clock = (time_ms) => new Date(time_ms).toLocaleTimeString();

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3));
  return `${(number / 1_000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}

/** Why something could not be switched on, and what to do. */
export function explain(error, what) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return (
        `This page may not use the ${what}. Allow it in the browser's site settings (the sign left ` +
        "of the address), then try again."
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return `This device has no ${what} that the browser can use.`;
    case "NotReadableError":
    case "AbortError":
      return `Another app uses the ${what}: close it, then try again.`;
    default:
      return error.message;
  }
}

/** What the state of sending is, in one sentence or two. */
export function stateOf({ queued, isSending, pause, isForeign, isOnline }) {
  const waiting = queued === 1 ? "1 item waits here" : `${queued} items wait here`;
  if (pause?.kind === "unpaired") {
    return `AM does not take this device's token any more (${pause.message}). ${waiting}: nothing is lost. Make a code with \`am pair\` and pair anew below.`;
  }
  if (!queued) return "All is sent.";
  if (isForeign) {
    return `${waiting}, of another user's pairing: pair anew with a code of that user to send them.`;
  }
  if (isSending) return "Sending.";
  if (!isOnline) return `No network. ${waiting} and will be sent when it is back.`;
  if (pause) return `${pause.message} ${waiting}; next try at ${clock(pause.until_ms)}.`;
  return "Sending.";
}
