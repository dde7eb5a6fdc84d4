// Elements as AM's streams want them: an id of their own, an instant, the device's zone.

const pad = (number, digits = 2) => String(Math.abs(Math.trunc(number))).padStart(digits, "0");

/** The instant in ISO 8601 with the offset that the device has at it, and that offset. */
export function stamp(time_ms) {
  const time = new Date(time_ms);
  const offset_min = -time.getTimezoneOffset();
  const local = new Date(time.getTime() + offset_min * 60_000).toISOString().slice(0, -1);
  const sign = offset_min < 0 ? "-" : "+";
  const zone = `${sign}${pad(offset_min / 60)}:${pad(offset_min % 60)}`;
  return { recorded_at: local + zone, tz_offset_min: offset_min };
}

/** One element. What is null or no number is left out: unknown is not zero. */
export function message(device, time_ms, fields) {
  const known = Object.entries(fields).filter(
    ([, value]) => value !== null && value !== undefined && !Number.isNaN(value),
  );
  return {
    event_id: crypto.randomUUID(),
    device_id: device.device_id,
    ...stamp(time_ms),
    ...Object.fromEntries(known),
  };
}

/** A WAV file of 16-bit mono samples. */
export function wav(samples, rate_hz) {
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) =>
    [...letters].forEach((letter, index) => header.setUint8(at + index, letter.charCodeAt(0)));
  const bytes = samples.length * 2;
  text(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, rate_hz, true);
  header.setUint32(28, rate_hz * 2, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, bytes, true);
  const file = new Uint8Array(44 + bytes);
  file.set(new Uint8Array(header.buffer));
  const content = new DataView(file.buffer, 44);
  samples.forEach((sample, index) => content.setInt16(index * 2, sample, true));
  return file.buffer;
}
