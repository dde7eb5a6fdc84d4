// The collectors that run until they are switched off: one tab at a time, again after a reload.

import * as location_ from "./location.js";
import * as microphone from "./microphone.js";
import * as motion from "./motion.js";
import { $, write } from "./page.js";
import { fact, remember } from "./store.js";
import { explain } from "./words.js";

const KINDS = {
  location: { collector: location_, permission: "geolocation", what: "location" },
  motion: { collector: motion, permission: "accelerometer", what: "motion sensors" },
  microphone: { collector: microphone, permission: "microphone", what: "microphone" },
};
const running = new Map(); // by name: a function that stops it

export const isAnyOn = () => running.size > 0;

/** Makes the switches work; `keep` queues what they collect. */
export async function wire(keep) {
  for (const name of Object.keys(KINDS)) {
    $(name).addEventListener("change", () => turn(name, $(name).checked, keep));
  }
  await resume(keep);
}

/** Switches on again what was on, where that needs nobody's word. */
async function resume(keep) {
  const were = (await fact("switches")) ?? {};
  for (const name of Object.keys(KINDS).filter((kind) => were[kind])) {
    if (await mayStart(name)) await turn(name, true, keep);
    else tell(name, "It was on before this page was loaded: switch it on again.");
  }
}

async function mayStart(name) {
  try {
    return (await navigator.permissions.query({ name: KINDS[name].permission })).state === "granted";
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // A browser without a permission of that name: Apple's asks for motion, and after a tap only.
    return name === "motion" && !self.DeviceMotionEvent?.requestPermission;
  }
}

async function turn(name, isOn, keep) {
  const were = (await fact("switches")) ?? {};
  await remember("switches", { ...were, [name]: isOn });
  if (isOn) await begin(name, keep);
  else await end(name, "");
}

/** Stops all, as when nothing can be kept any more. */
export const stopAll = (why) => Promise.all([...running.keys()].map((name) => end(name, why)));

async function begin(name, keep) {
  if (running.has(name)) return;
  $(name).checked = true;
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const isHere = await new Promise((resolve) => {
    navigator.locks.request(`am-collect-${name}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && held;
    });
  });
  if (!isHere) {
    $(name).checked = false;
    tell(name, "Another tab of this page is collecting it.");
    return;
  }
  running.set(name, async () => release());
  try {
    const stop = await KINDS[name].collector.start(toolsFor(name, keep));
    if (running.has(name)) running.set(name, () => stopped(stop, release));
    else await stopped(stop, release); // it was switched off meanwhile
  } catch (error) {
    await end(name, explain(error, KINDS[name].what));
  }
}

async function stopped(stop, release) {
  try {
    await stop();
  } finally {
    release();
  }
}

const toolsFor = (name, keep) => ({
  keep,
  tell: (text) => running.has(name) && tell(name, text),
  fail: (why) => end(name, why),
  level: (loudness) => {
    $("level").hidden = loudness === null;
    $("level").value = Math.sqrt(loudness ?? 0); // ears feel it like this rather
  },
});

async function end(name, why) {
  const stop = running.get(name);
  running.delete(name);
  $(name).checked = false;
  tell(name, why);
  await stop?.();
}

const tell = (name, text) => write(`${name}-told`, text);
