import { readEvents } from "./sse.js";

/** An answer of the service that says no. */
export class Problem extends Error {
  /** @param {Response} answer @param {any} body Its body, as far as it could be read. */
  constructor(answer, body) {
    super(body?.detail ?? `the service answered ${answer.status} without a reason`);
    this.status = answer.status;
    this.code = body?.code ?? "http_error";
    /** @type {{pointer: string, detail: string}[]} */
    this.errors = body?.errors ?? [];
    const after = answer.headers.get("retry-after");
    /** @type {number | null} Seconds after which it is worth trying again. */
    this.retryAfterS = after && /^\d+$/.test(after) ? Number(after) : null;
  }
}

/** Nobody answered, or the answer broke off. */
export class ConnectionLost extends Error {}

const SILENCE_MS = 45_000; // the service sends something every 15 s
const PATIENCE_MS = 30_000; // what is asked without waiting for its end is answered sooner

/** The service, as functions. The key is in memory only: never in a URL, never stored. */
export class Api {
  #base;
  #key = "";
  #waiting = [];

  /** @param {URL} base The folder that `v1/` is in. */
  constructor(base) {
    this.#base = base;
    /** @type {(reason: string) => void} Called when the service wants a key, or another one. */
    this.onKeyNeeded = () => {};
  }

  /** Whether calls carry a key. */
  get keyed() {
    return this.#key !== "";
  }

  /** @param {string} path @returns {string} */
  url(path) {
    return new URL(path, this.#base).href;
  }

  /** @param {string} key Used from now on; whoever waited for one goes on. */
  useKey(key) {
    this.#key = key.trim();
    for (const goOn of this.#waiting.splice(0)) goOn();
  }

  /** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} The body. */
  async json(path, options) {
    const answer = await this.#call(path, options, PATIENCE_MS);
    return this.#read(answer.json());
  }

  /** @param {string} path POST there, though the page goes away meanwhile. */
  send(path) {
    fetch(this.url(path), { method: "POST", headers: this.#headers(), keepalive: true }).catch(() => {});
  }

  /** @param {string} path @param {string} type @returns {Promise<Blob>} */
  async blob(path, type) {
    const answer = await this.#call(path, { headers: { Accept: type } });
    return this.#read(answer.blob());
  }

  /**
   * What happens to a job, as it happens.
   * @param {string} path
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<{event: string, data: any}>}
   */
  async *events(path, signal) {
    const quiet = new AbortController();
    const stop = () => quiet.abort();
    let timer = setTimeout(stop, SILENCE_MS);
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MS);
    };
    try {
      const options = { headers: { Accept: "text/event-stream" }, signal: AbortSignal.any([signal, quiet.signal]) };
      const answer = await this.#call(path, options);
      yield* readEvents(answer.body, alive);
    } catch (error) {
      throw error instanceof Problem ? error : new ConnectionLost("the stream of events broke off");
    } finally {
      clearTimeout(timer);
      stop();
    }
  }

  async #call(path, options = {}, patienceMs = 0) {
    for (;;) {
      const ends = [options.signal, patienceMs ? AbortSignal.timeout(patienceMs) : null].filter(Boolean);
      const signal = AbortSignal.any(ends);
      const headers = this.#headers(options.headers);
      const sentWith = this.#key;
      let answer;
      try {
        answer = await fetch(this.url(path), { ...options, signal, headers, cache: "no-cache", credentials: "omit" });
      } catch {
        throw new ConnectionLost("the service does not answer");
      }
      if (answer.ok) return answer;
      const problem = new Problem(answer, await answer.json().catch(() => null));
      if (answer.status !== 401) throw problem;
      if (sentWith === this.#key) await this.#keyFrom(problem.message, options.signal);
      options.signal?.throwIfAborted();
    }
  }

  #headers(given) {
    const headers = new Headers(given);
    if (this.#key) headers.set("Authorization", `Bearer ${this.#key}`);
    return headers;
  }

  /** Ask for a key, and go on when there is one. */
  #keyFrom(reason, signal) {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      signal?.addEventListener("abort", resolve, { once: true });
      this.onKeyNeeded(reason);
    });
  }

  async #read(body) {
    try {
      return await body;
    } catch {
      throw new ConnectionLost("the answer broke off");
    }
  }
}
