// The device's own database: who it is, what waits to be sent, what was refused, and the counts.
// Whatever is collected is written here before anything else happens to it.

const NAME = "am-collector";
const channel = "BroadcastChannel" in self ? new BroadcastChannel(NAME) : null;
const listeners = new Set();
let opened = null;

channel?.addEventListener("message", () => tellListeners());

/** Calls `listener` after every change of the store, in this tab or another. */
export function onChange(listener) {
  listeners.add(listener);
}

function tellListeners() {
  for (const listener of listeners) listener();
}

function changed() {
  tellListeners();
  channel?.postMessage("changed");
}

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("facts");
      request.result.createObjectStore("queue", { keyPath: "key", autoIncrement: true });
      request.result.createObjectStore("refused", { keyPath: "key", autoIncrement: true });
      request.result.createObjectStore("counts", { keyPath: "stream" });
    };
    request.onsuccess = () => {
      const database = request.result;
      database.onclose = () => (opened = null); // Safari closes it behind a page's back
      database.onversionchange = () => database.close();
      resolve(database);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("close the other tabs of this page first"));
  });
  opened.catch(() => (opened = null));
  return opened;
}

/** The value of one request. */
const asked = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** Runs `work` in one transaction: it resolves when all of it is on the disk, or nothing is. */
async function transact(names, mode, work) {
  const begin = async () => (await open()).transaction(names, mode, { durability: "strict" });
  const transaction = await begin().catch(() => {
    opened = null;
    return begin();
  });
  const done = new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error ?? new Error("the database gave up"));
  });
  const worked = work(...names.map((name) => transaction.objectStore(name)));
  worked.catch(() => abort(transaction));
  const [result] = await Promise.all([worked, done]);
  return result;
}

function abort(transaction) {
  try {
    transaction.abort();
  } catch (error) {
    if (error.name !== "InvalidStateError") throw error; // it was over already
  }
}

const read = (names, work) => transact(names, "readonly", work);

async function write(names, work) {
  const result = await transact(names, "readwrite", work);
  changed();
  return result;
}

/** What is known by a name, or undefined: `device`, `token`, `switches`, `pause`. */
export const fact = (name) => read(["facts"], (facts) => asked(facts.get(name)));

/** Remembers something by a name; undefined forgets it. */
export const remember = (name, value) =>
  write(["facts"], async (facts) => {
    if (value === undefined) facts.delete(name);
    else facts.put(value, name);
  });

async function count(counts, stream, changes) {
  const none = { stream, queued: 0, queued_bytes: 0, sent: 0, refused: 0 };
  const now = (await asked(counts.get(stream))) ?? none;
  for (const [name, change] of Object.entries(changes)) now[name] += change;
  await asked(counts.put(now));
}

const sizeOf = (record) => record.blob?.byteLength ?? JSON.stringify(record.elements).length;

/** Queues elements of one stream. `blob` (an ArrayBuffer) is the bytes of the only element. */
export const enqueue = (record) =>
  write(["queue", "counts"], async (queue, counts) => {
    const bytes = sizeOf(record);
    await asked(queue.add({ ...record, bytes }));
    await count(counts, record.stream, { queued: record.elements.length, queued_bytes: bytes });
  });

/** The oldest records of one user and one stream, as many as fit into one sending; maybe none. */
export const oldest = (userId, { maxElements, maxBytes, maxLooked }) =>
  read(["queue"], (queue) => {
    const found = [];
    let elements = 0;
    let bytes = 0;
    let looked = 0;
    return new Promise((resolve, reject) => {
      const request = queue.openCursor();
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor) return resolve(found);
        const record = cursor.value;
        if (record.user_id === userId && record.stream === (found[0] ?? record).stream) {
          elements += record.elements.length;
          bytes += record.bytes;
          if (found.length && (elements > maxElements || bytes > maxBytes)) return resolve(found);
          found.push(record);
        }
        looked += found.length ? 1 : 0;
        if (looked > maxLooked) return resolve(found);
        cursor.continue();
      };
    });
  });

/**
 * Ends records that AM has answered for. `refusals` are their elements that it did not take.
 * A record that another tab has ended already is counted once.
 */
export const finish = (records, refusals) =>
  write(["queue", "refused", "counts"], async (queue, refused, counts) => {
    for (const record of records) {
      if (!(await asked(queue.get(record.key)))) continue;
      queue.delete(record.key);
      const bad = refusals.filter((refusal) => refusal.key === record.key);
      for (const { key, ...refusal } of bad) {
        refused.add({ ...refusal, user_id: record.user_id, stream: record.stream, blob: record.blob });
      }
      await count(counts, record.stream, {
        queued: -record.elements.length,
        queued_bytes: -record.bytes,
        sent: record.elements.length - bad.length,
        refused: bad.length,
      });
    }
  });

/** Puts records behind all others. */
export const postpone = (records) =>
  write(["queue"], async (queue) => {
    for (const { key, ...record } of records) {
      if (!(await asked(queue.get(key)))) continue;
      queue.delete(key);
      queue.add(record);
    }
  });

/** The counts: by stream, and `all` of them. */
export async function countAll() {
  const rows = await read(["counts"], (counts) => asked(counts.getAll()));
  const all = { queued: 0, queued_bytes: 0, sent: 0, refused: 0 };
  for (const row of rows) for (const name of Object.keys(all)) all[name] += row[name];
  return { ...Object.fromEntries(rows.map((row) => [row.stream, row])), all };
}

/** The refused elements, newest first, at most `limit`. */
export const refusedOnes = (limit) =>
  read(["refused"], (refused) => {
    const found = [];
    return new Promise((resolve, reject) => {
      const request = refused.openCursor(null, "prev");
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || found.length === limit) return resolve(found);
        found.push(cursor.value);
        cursor.continue();
      };
    });
  });

/** Takes a refused element out; with `again` it is queued as it was, with its id. */
export const settleRefused = (key, { again }) =>
  write(["refused", "queue", "counts"], async (refused, queue, counts) => {
    const one = await asked(refused.get(key));
    if (!one) return;
    refused.delete(key);
    await count(counts, one.stream, { refused: -1 });
    if (!again) return;
    const record = { user_id: one.user_id, stream: one.stream, elements: [one.element] };
    if (one.blob) Object.assign(record, { blob: one.blob, blob_field: one.blob_field });
    const bytes = sizeOf(record);
    queue.add({ ...record, bytes });
    await count(counts, one.stream, { queued: 1, queued_bytes: bytes });
  });

/** Forgets everything. */
export const clear = () =>
  write(["facts", "queue", "refused", "counts"], async (...stores) => {
    for (const store of stores) store.clear();
  });
