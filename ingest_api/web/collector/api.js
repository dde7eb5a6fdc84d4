// What AM is told and what its answers mean. Nothing counts as stored but AM's own word for it.

const GZIP_FROM = 1_000; // bytes; below it there is nothing to gain
const SLOWEST = 10; // bytes a millisecond: a slower line is given up, and tried again later
const PATIENCE_MS = 30_000;

/** An address of this AM, wherever it is mounted. */
const address = (path) => new URL(`../${path}`, import.meta.url);

/**
 * Sending has to wait: `kind` is network, server or unpaired. `after_ms` is how long AM asks to
 * wait; `isBug`: AM fails at this very request, others may pass.
 */
export class Pause extends Error {
  constructor(kind, message, { after_ms = null, isBug = false } = {}) {
    super(message);
    this.kind = kind;
    this.after_ms = after_ms;
    this.isBug = isBug;
  }
}

/** One thing that AM will not take, however often it is sent. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Milliseconds that a Retry-After asks for; null where it asks for none. */
export function retryAfter(value, now_ms) {
  if (!value) return null;
  const seconds = Number(value);
  const wait_ms = Number.isNaN(seconds) ? Date.parse(value) - now_ms : seconds * 1_000;
  return Number.isNaN(wait_ms) ? null : Math.max(0, wait_ms);
}

/**
 * What an answer means for `count` elements: returns AM's counts and dead letters.
 * Throws Pause where sending again may help, Refused where it will not.
 */
export function understand({ status, isAm, retry_after, body, count }, now_ms) {
  const told = body?.detail ? String(body.detail) : `the answer was ${status}`;
  if (status === 413) throw new Refused(status, told); // a proxy's limit is as lasting as AM's
  if (!isAm) {
    throw new Pause("network", `something else than AM answered (${status}): is there a sign-in page?`);
  }
  if (status >= 200 && status < 300) {
    if (body?.received === count) return body;
    throw new Pause("server", "AM's answer does not account for all that was sent");
  }
  if (status === 401 || status === 403) throw new Pause("unpaired", told);
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const after_ms = retryAfter(retry_after, now_ms);
    throw new Pause("server", told, { after_ms, isBug: status === 500 });
  }
  if (status >= 400) throw new Refused(status, told);
  throw new Pause("network", told);
}

/** Sends elements of one stream. Throws as `understand` does. */
export async function send(stream, elements, token) {
  const { body, headers } = await packed(JSON.stringify(elements));
  const headersAll = { ...headers, authorization: `Bearer ${token}` };
  const answer = await post(`v1/streams/${stream}`, body, headersAll);
  return understand({ ...answer, count: elements.length }, Date.now());
}

/** Exchanges a code for a token. Throws an Error that says what to do. */
export async function pair({ code, device_id, name }) {
  const body = JSON.stringify({ code, device_id, name });
  const answer = await post("v1/pair", body, { "content-type": "application/json" });
  if (answer.isAm && answer.status === 201) return answer.body;
  if (answer.isAm && answer.status === 404) {
    throw new Error("This code is unknown, was used or has expired. Make a new one with `am pair`.");
  }
  if (answer.isAm && answer.status === 422) {
    throw new Error("The code or the name can't be read: type the code as `am pair` printed it.");
  }
  throw new Error(answer.body?.detail ?? `The answer was ${answer.status}. Try again.`);
}

async function post(path, body, headers) {
  const patience_ms = PATIENCE_MS + (body.size ?? body.length) / SLOWEST;
  const options = { method: "POST", body, headers, redirect: "error", credentials: "omit" };
  try {
    const response = await fetch(address(path), {
      ...options,
      cache: "no-store",
      signal: AbortSignal.timeout(patience_ms),
    });
    const content = await json(response);
    const isSigned = response.headers.get("x-services-encountered") === "am";
    return {
      status: response.status,
      isAm: isSigned || content?.trace_id !== undefined, // the answer to a bug lacks the header
      retry_after: response.headers.get("retry-after"),
      body: content,
    };
  } catch (error) {
    throw new Pause("network", `AM can't be reached (${error.message}).`);
  }
}

/** The JSON of an answer; null where it holds none. */
async function json(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

async function packed(text) {
  const plain = new Blob([text]);
  const headers = { "content-type": "application/json" };
  if (plain.size < GZIP_FROM || !("CompressionStream" in self)) return { body: plain, headers };
  const smaller = plain.stream().pipeThrough(new CompressionStream("gzip"));
  const body = await new Response(smaller).blob();
  return { body, headers: { ...headers, "content-encoding": "gzip" } };
}
