// Where the device is: Geolocation → device.sensor.gps.raw.

import { clock } from "./words.js";

export const STREAM = "device.sensor.gps.raw";
const EVERY_MS = 10_000;
const OPTIONS = { enableHighAccuracy: true, maximumAge: 5_000, timeout: 60_000 };

/** What the stream wants of a position. What the receiver doesn't know is null there. */
export const fields = ({ coords }) => ({
  latitude: coords.latitude,
  longitude: coords.longitude,
  altitude_m: coords.altitude,
  altitude_accuracy_m: coords.altitudeAccuracy,
  accuracy_m: coords.accuracy,
  heading_deg: coords.heading,
  speed_m_s: coords.speed,
});

/** Starts; gives what stops it. */
export async function start({ keep, tell, fail }) {
  let last_ms = 0;
  const take = async (position) => {
    if (position.timestamp - last_ms < EVERY_MS * 0.95) return;
    last_ms = position.timestamp;
    await keep(STREAM, [[position.timestamp, fields(position)]]);
    tell(`Last position at ${clock(position.timestamp)}, ± ${Math.round(position.coords.accuracy)} m.`);
  };
  const miss = (error) => {
    if (error.code === error.PERMISSION_DENIED) {
      fail(
        "This page may not know the location. Allow it in the browser's site settings (and in the " +
          "system's, for the browser), then switch it on again.",
      );
    } else tell("No position at the moment. It goes on trying.");
  };
  const watch = navigator.geolocation.watchPosition(take, miss, OPTIONS);
  tell("Waiting for the first position.");
  return () => navigator.geolocation.clearWatch(watch);
}
