// The service worker: keeps the page for when there is no network, and sends in the background
// where the browser has Background Sync. It serves nothing but the collector's own files.

import { FILES, VERSION } from "./release.js";
import { drain, endPause } from "./sender.js";

const CACHE = `am-collector-${VERSION}`;

self.addEventListener("install", (event) => event.waitUntil(keepFiles()));
self.addEventListener("activate", (event) => event.waitUntil(takeOver()));
self.addEventListener("fetch", (event) => {
  const isOwn = event.request.url.startsWith(self.registration.scope);
  if (isOwn && event.request.method === "GET") event.respondWith(answer(event.request));
});
self.addEventListener("sync", (event) => event.waitUntil(sendQueue()));

async function keepFiles() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
  await self.skipWaiting();
}

async function takeOver() {
  const others = (await caches.keys()).filter((name) => name !== CACHE);
  await Promise.all(others.map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}

/** The browser tries again later when this fails. */
async function sendQueue() {
  await endPause();
  const pause = await drain();
  if (pause) throw new Error(pause.message);
}
