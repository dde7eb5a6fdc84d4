// Who this device is, and how it gets its token.

import { pair } from "./api.js";
import { fact, remember } from "./store.js";
import { guessName } from "./words.js";

let given = null;

/** The code that the address brought, taken out of it before anything else is done. */
export function takeCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("pair");
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (code) given = code;
  return given;
}

/** Forgets a code that AM would not take. */
export const dropCode = () => (given = null);

/** What it is called: as before, else a guess; its id is made once and stays. */
export async function device() {
  const known = await fact("device");
  if (known) return known;
  return { device_id: `browser-${crypto.randomUUID().slice(0, 13)}`, name: guessName(navigator.userAgent) };
}

/** Exchanges a code for a token and keeps it. Throws an Error that says what to do. */
export async function pairWith(code, name) {
  const self_ = { ...(await device()), name };
  await remember("device", self_);
  const { token, user_id, device_id } = await pair({ code, ...self_ });
  await remember("token", { token, user_id, device_id });
  await remember("pause", undefined);
  given = null;
  await navigator.storage?.persist?.();
}
