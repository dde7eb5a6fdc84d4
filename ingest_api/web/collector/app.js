// The page: wires what the other modules do to what people see.

import { Pause } from "./api.js";
import { Camera } from "./camera.js";
import { message } from "./messages.js";
import { $, confirmed, make, show, warn, write } from "./page.js";
import { device, dropCode, pairWith, takeCode } from "./pairing.js";
import { VERSION } from "./release.js";
import { drain, endPause } from "./sender.js";
import * as store from "./store.js";
import * as switches from "./switches.js";
import { bytes, clock, explain, nameOf, stateOf } from "./words.js";

const NOTE = "digital.notes.raw";
const LISTED = 50;
const NEARLY_FULL = 0.8;
const CALM_MS = 200; // between two looks at the store

const camera = new Camera($("finder"));
let token = null;
let self_ = null;
let isSending = false;
let isWanted = false;
let isUrgent = false;
let timer = null;
let refreshing = null;
let wake = null;

// -- collecting

/**
 * Queues elements of a stream ([time in ms, fields] each), then sends; false where that failed.
 * Then nothing is dropped in silence: all that runs is stopped, and people are told.
 */
async function keep(stream, readings, bytesOf = {}) {
  const elements = readings.map(([time_ms, fields]) => message(self_, time_ms, fields));
  try {
    await store.enqueue({ user_id: token.user_id, stream, elements, ...bytesOf });
  } catch (error) {
    cannotKeep(error);
    return false;
  }
  sendAll();
  return true;
}

function cannotKeep(error) {
  const why =
    error.name === "QuotaExceededError"
      ? "The browser's storage is full: collecting has stopped. What is queued is safe; connect to AM so that it is sent, or free some space."
      : `This could not be kept (${error.message}): collecting has stopped.`;
  warn("store", why);
  switches.stopAll("Stopped: nothing more can be kept.");
}

// -- sending

async function sendAll() {
  isWanted = true;
  if (isSending || !token) return;
  clearTimeout(timer);
  isSending = true;
  let pause = null;
  try {
    while (isWanted) {
      isWanted = false;
      if (isUrgent) await endPause();
      isUrgent = false;
      pause = await drain();
    }
    warn("send", null);
  } catch (error) {
    warn("send", `Sending has failed: ${error.message}. Reload the page; the queue is kept.`);
    throw error;
  } finally {
    isSending = false;
    refresh();
  }
  if (pause) {
    timer = setTimeout(sendAll, Math.max(0, pause.until_ms - Date.now()) + 20);
    await askForSync();
  }
}

/** Sends now, whatever has failed before: a person or a network that is back wants it. */
function sendNow() {
  isUrgent = true; // a sending that just fails would else begin a pause after this
  return sendAll();
}

/** Asks the browser to start sending by itself when the network is back, where it can. */
async function askForSync() {
  const registration = await navigator.serviceWorker?.getRegistration();
  try {
    await registration?.sync?.register("am-send");
  } catch (error) {
    console.info(`no background sync: ${error.message}`); // it is sent when the page is open
  }
}

// -- showing

/** Shows what the store holds, soon: many changes are shown together. */
function refresh() {
  refreshing ??= setTimeout(() => {
    refreshing = null;
    showAll().catch((error) => warn("store", `The browser's storage fails: ${error.message}`));
  }, CALM_MS);
}

async function showAll() {
  const before = token;
  [token, self_] = [(await store.fact("token")) ?? null, await device()];
  show("pairing", !token);
  show("paired", token);
  write("who", token ? `${self_.name}, for ${token.user_id}` : "This device is not paired.");
  if (before && !token) await switches.stopAll("");
  if (!token) return;
  const [{ all }, pause] = [await store.countAll(), await store.fact("pause")];
  for (const name of ["queued", "sent", "refused"]) write(name, all[name].toLocaleString("en-GB"));
  const isForeign = all.queued > 0 && !(await hasOwn());
  const facts = { queued: all.queued, isSending, pause, isForeign, isOnline: navigator.onLine };
  write("state", stateOf(facts));
  await Promise.all([showRefused(all.refused), showStorage(all.queued_bytes)]);
}

/** Whether anything in the queue is of the user that this device is paired for. */
const hasOwn = async () => {
  const limits = { maxElements: 1, maxBytes: 1, maxLooked: 1 };
  return (await store.oldest(token.user_id, limits)).length > 0;
};

async function showRefused(count) {
  show("refusals", count > 0);
  if (!count) return $("refused-list").replaceChildren();
  const ones = await store.refusedOnes(LISTED);
  const keys = ones.map((one) => one.key).join();
  if ($("refused-list").dataset.keys === keys) return; // nobody's finger loses its button
  $("refused-list").dataset.keys = keys;
  $("refused-list").replaceChildren(...ones.map(refusedItem));
  write("refused-more", count > ones.length ? `and ${count - ones.length} more` : "");
}

function refusedItem(one) {
  const isKept = one.dead_letter_id !== null;
  const where = isKept ? `AM keeps it as dead letter ${one.dead_letter_id}.` : "AM does not have it.";
  const again = make("button", { type: "button" }, "Send again");
  const away = make("button", { type: "button", className: "danger" }, "Delete");
  const title = `${nameOf(one.stream)}, ${new Date(one.element.recorded_at).toLocaleString()}`;
  again.addEventListener("click", async () => {
    await store.settleRefused(one.key, { again: true });
    await sendNow();
  });
  away.addEventListener("click", async () => {
    if (await confirmed(`Delete this from the device? ${where}`)) {
      await store.settleRefused(one.key, { again: false });
    }
  });
  const reason = make("p", { className: "reason" }, `${one.reason} (${one.code})`);
  const row = make("div", { className: "row" }, again, away);
  return make("li", {}, make("strong", {}, title), reason, make("p", { className: "hint" }, where), row);
}

async function showStorage(queued_bytes) {
  const { usage, quota } = await navigator.storage.estimate();
  const isPersistent = await navigator.storage.persisted();
  const promise = isPersistent
    ? "The browser has promised to keep it."
    : "The browser may delete it when the device runs out of space: install this page, or open it often.";
  write("storage", `${bytes(queued_bytes)} wait to be sent. This site uses ${bytes(usage)} of ${bytes(quota)}. ${promise}`);
  const isFull = usage > quota * NEARLY_FULL;
  warn("quota", isFull ? `The browser's storage is nearly full (${bytes(usage)} of ${bytes(quota)}). Connect to AM so that the queue is sent.` : null);
}

// -- what people do

async function submitPairing(event, code, name) {
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  warn("pair", null);
  try {
    await pairWith(code, name);
    $("anew").open = false;
    await showAll();
    await sendNow();
  } catch (error) {
    if (!(error instanceof Pause)) dropCode();
    showCode();
    warn("pair", error.message);
  } finally {
    if (button) button.disabled = false;
  }
}

async function wirePairing() {
  $("device-name").value = (await device()).name;
  showCode();
  addEventListener("hashchange", showCode);
  show("home-screen", navigator.standalone === false);
  $("pair").addEventListener("submit", (event) =>
    submitPairing(event, takeCode() ?? $("code").value, $("device-name").value.trim()),
  );
  $("pair-anew").addEventListener("submit", (event) =>
    submitPairing(event, $("code-anew").value, self_.name),
  );
}

/** A code that came by the address needs no typing. */
function showCode() {
  const code = takeCode();
  show("code-row", !code);
  $("code").required = !code;
  if (code && token) {
    $("code-anew").value = code;
    $("anew").open = true;
  }
}

async function useCamera(work) {
  try {
    await work();
  } catch (error) {
    camera.close();
    write("camera-told", explain(error, "camera"));
  }
  for (const id of ["finder", "shoot", "turn"]) show(id, camera.isOpen);
  write("camera", camera.isOpen ? "Close the camera" : "Open the camera");
}

function wireCamera() {
  const click = (id, work) => $(id).addEventListener("click", () => useCamera(work));
  click("camera", () => (camera.isOpen ? camera.close() : camera.open()));
  click("turn", () => camera.turn());
  click("shoot", async () => {
    const isKept = await keep(...(await camera.shoot()));
    write("camera-told", isKept ? `Kept at ${clock(Date.now())}.` : "Not kept.");
  });
}

function wireNote() {
  $("note").addEventListener("submit", async (event) => {
    event.preventDefault();
    const [title, content] = [$("note-heading").value.trim() || null, $("note-text").value];
    const isKept = await keep(NOTE, [[Date.now(), { title, content, note_type: "text" }]]);
    if (isKept) $("note").reset();
    write("note-told", isKept ? `Kept at ${clock(Date.now())}.` : "Not kept: copy it elsewhere.");
  });
}

function wireAwake() {
  const hold = async () => {
    try {
      wake = await navigator.wakeLock.request("screen");
      write("awake-told", "The screen stays on while this page is in front.");
    } catch (error) {
      $("awake").checked = false;
      write("awake-told", `The browser does not keep the screen on: ${error.message}`);
    }
  };
  $("awake").addEventListener("change", () => ($("awake").checked ? hold() : wake?.release()));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && $("awake").checked) hold(); // a browser takes it when the page is hidden
  });
}

async function forget() {
  const { all } = await store.countAll();
  const lost = `${all.queued} items that were not sent and ${all.refused} that were refused`;
  if (!(await confirmed(`Forget this device's token, with ${lost}?`))) return;
  await switches.stopAll("");
  await store.clear();
  location.reload();
}

// -- the page itself

/** Uses a new version at once where nobody would notice, else when people say so. */
function onNewVersion() {
  const isIdle = !switches.isAnyOn() && !camera.isOpen && !$("note-text").value;
  if (isIdle) location.reload();
  else show("reload", true);
}

async function keepForOffline() {
  if (!navigator.serviceWorker) return write("offline", "This browser does not open the page offline.");
  const hadWorker = navigator.serviceWorker.controller !== null;
  const script = new URL("worker.js", import.meta.url);
  try {
    const options = { type: "module", updateViaCache: "none" };
    const registration = await navigator.serviceWorker.register(script, options);
    if (hadWorker) navigator.serviceWorker.addEventListener("controllerchange", onNewVersion);
    await navigator.serviceWorker.ready;
    write("offline", "This page opens without a network.");
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && navigator.onLine) registration.update().catch(console.info);
    });
  } catch (error) {
    write("offline", `This page does not open without a network: ${error.message}. A certificate that the device does not trust is a common cause.`);
  }
}

function wireInstall() {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    show("install", true);
    $("install").onclick = () => event.prompt();
  });
  addEventListener("appinstalled", () => {
    show("install", false);
    navigator.storage.persist().then(refresh);
  });
}

async function start() {
  takeCode();
  if (!isSecureContext) return show("insecure", true);
  write("version", VERSION);
  wireInstall();
  await wirePairing();
  wireCamera();
  wireNote();
  wireAwake();
  $("send").addEventListener("click", sendNow);
  $("forget").addEventListener("click", forget);
  $("reload").addEventListener("click", () => location.reload());
  addEventListener("online", sendNow);
  addEventListener("offline", refresh);
  store.onChange(refresh);
  await showAll();
  showCode();
  await switches.wire(keep);
  await keepForOffline();
  await sendAll();
}

start().catch((error) => warn("start", `The page could not start: ${error.message}`));
