// How the device is moved: DeviceMotion → device.sensor.accelerometer.raw, in batches.

export const STREAM = "device.sensor.accelerometer.raw";
const RATE_HZ = 25;
const FLUSH_MS = 2_000;
const FIRST_MS = 3_000;

/** Starts; gives what stops it. */
export async function start({ keep, tell, fail }) {
  if (!("DeviceMotionEvent" in self)) throw new Error("This browser tells no motion.");
  if ((await DeviceMotionEvent.requestPermission?.()) === "denied") {
    throw new DOMException("motion was denied", "NotAllowedError");
  }
  let readings = [];
  let last_ms = 0;
  let total = 0;

  const take = (event) => {
    const { x, y, z } = event.accelerationIncludingGravity ?? {};
    if (x == null || y == null || z == null) return;
    if (event.timeStamp - last_ms < 1_000 / RATE_HZ - 4) return; // 4 ms: timers are not exact
    last_ms = event.timeStamp;
    const time_ms = Date.now() - (performance.now() - event.timeStamp);
    readings.push([time_ms, { x_m_s2: x, y_m_s2: y, z_m_s2: z }]);
    total += 1;
  };
  const flush = async () => {
    const full = readings;
    readings = [];
    if (!full.length) return;
    await keep(STREAM, full);
    tell(`${total} readings since it was switched on.`);
  };
  const flushHidden = () => document.hidden && flush();

  addEventListener("devicemotion", take);
  document.addEventListener("visibilitychange", flushHidden);
  const timer = setInterval(flush, FLUSH_MS);
  const first = setTimeout(
    () => total || fail("This device tells no motion: it has no sensor, or the browser keeps it."),
    FIRST_MS,
  );
  tell("Waiting for the first reading.");
  return async () => {
    removeEventListener("devicemotion", take);
    document.removeEventListener("visibilitychange", flushHidden);
    clearInterval(timer);
    clearTimeout(first);
    await flush();
  };
}
