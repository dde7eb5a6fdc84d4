// Empties the queue: oldest first, one sender at a time among all tabs and the service worker.
// A record leaves the queue only after AM's 2xx, or for the refused ones after its lasting no.

import { Pause, Refused, send } from "./api.js";
import { fact, finish, oldest, postpone, remember } from "./store.js";

const LOCK = "am-send";
const LIMITS = { maxElements: 500, maxBytes: 2_000_000, maxLooked: 200 };
const FIRST_MS = 1_000;
const LONGEST_MS = 5 * 60_000;

/** How long to wait after so many failures in a row; `chance` (0 to 1) spreads devices. */
export function backoff(failures, chance) {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20));
  return full * (0.5 + chance / 2);
}

/**
 * Sends until the queue is empty: gives null, or the pause that keeps it from going on
 * (`kind`, `message`, `until_ms`, `failures`), which is remembered for all tabs.
 */
export const drain = () => exclusively(LOCK, drainAlone);

/** Runs `work` while no other tab holds the lock. */
export const exclusively = (name, work) => navigator.locks.request(name, work);

async function drainAlone() {
  let earlier = await fact("pause");
  if (earlier?.until_ms > Date.now()) return earlier;
  for (;;) {
    const token = await fact("token");
    if (!token) return null;
    const records = await oldest(token.user_id, limitsAfter(earlier));
    if (!records.length) {
      if (earlier) await remember("pause", undefined);
      return null;
    }
    try {
      await finish(records, await deliver(await itemsOf(records), records[0].stream, token.token));
    } catch (error) {
      if (!(error instanceof Pause)) throw error;
      if (error.isBug) await postpone(records); // it must not keep the others back
      return pauseFor(error, earlier, countOf(records));
    }
    if (earlier) await remember("pause", undefined);
    earlier = null;
  }
}

/** Fewer elements at once where AM has failed at some of them, so that the others get through. */
function limitsAfter(pause) {
  return pause?.isBug ? { ...LIMITS, maxElements: Math.max(1, pause.tried / 4) } : LIMITS;
}

const countOf = (records) => records.reduce((sum, { elements }) => sum + elements.length, 0);

async function pauseFor(error, earlier, tried) {
  const failures = (earlier?.failures ?? 0) + 1;
  const isAsked = error.after_ms !== null;
  const wait_ms = isAsked ? error.after_ms : backoff(failures, Math.random());
  const until_ms = Date.now() + wait_ms;
  const { kind, message, isBug } = error;
  const pause = { kind, message, isBug, tried, failures, until_ms, isAsked };
  await remember("pause", pause);
  return pause;
}

/** Ends a pause, as a person or a returned network may; not one that AM asked for. */
export async function endPause() {
  const pause = await fact("pause");
  if (pause && !pause.isAsked) await remember("pause", { ...pause, until_ms: 0, failures: 0 });
}

/** The elements of records, with their bytes put in. */
async function itemsOf(records) {
  const items = [];
  for (const { key, elements, blob, blob_field } of records) {
    const extra = blob ? { [blob_field]: await base64(blob) } : {};
    for (const element of elements) {
      items.push({ key, element, blob_field, sent: { ...element, ...extra } });
    }
  }
  return items;
}

/** A data URL: AM takes base64 with that prefix. */
const base64 = (bytes) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(new Blob([bytes]));
  });

/**
 * Sends items and gives those that AM did not take. A refused batch is halved until the one that
 * spoils it is alone. Throws Pause; what was sent before is sent again then, which is safe.
 */
async function deliver(items, stream, token) {
  try {
    const sent = items.map((item) => item.sent);
    const answer = await send(stream, sent, token);
    const letters = answer.dead_letters ?? [];
    if (letters.length === answer.rejected) return letters.map((letter) => rejected(items, letter));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (items.length === 1) return [refusal(items[0], String(error.status), error.message, null)];
  }
  const middle = Math.ceil(items.length / 2);
  return [
    ...(await deliver(items.slice(0, middle), stream, token)),
    ...(await deliver(items.slice(middle), stream, token)),
  ];
}

const rejected = (items, { index, code, reason, id }) => refusal(items[index], code, reason, id);

const refusal = ({ key, element, blob_field }, code, reason, dead_letter_id) => ({
  key,
  element,
  blob_field,
  code,
  reason,
  dead_letter_id,
  refused_at: new Date().toISOString(),
});
