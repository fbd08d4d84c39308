import { ConnectionLost, Problem } from "./api.js";
import { pause } from "./dom.js";

/**
 * What a run is doing. `sending`: nobody has taken it yet. `waiting`: it was turned away for now and is sent again.
 * `queued` to `canceled` are the job's own; `refused`: it will never be one.
 * @typedef {"sending"|"waiting"|"queued"|"running"|"succeeded"|"failed"|"canceled"|"refused"} Phase
 */

/** A browser opens six connections to a service, and streams must leave some free. First come, first served. */
export class Slots {
  #free;
  #line = [];

  /** @param {number} count */
  constructor(count) {
    this.#free = count;
  }

  async take() {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((resolve) => this.#line.push(resolve));
  }

  give() {
    const next = this.#line.shift();
    if (next) next();
    else this.#free += 1;
  }
}

const CANCEL_PATIENCE_MS = 2000;
const ENDED = ["succeeded", "failed", "canceled", "refused"];

/** One request from its submit to its end, through full queues and lost connections. */
export class Run {
  #api;
  #slots;
  #end = new AbortController();
  #again = new AbortController();
  #unwanted = false;

  /**
   * @param {import("./api.js").Api} api
   * @param {Record<string, any>} request The body of `POST /v1/jobs`.
   * @param {Slots} slots
   */
  constructor(api, request, slots) {
    this.#api = api;
    this.#slots = slots;
    this.request = request;
    /** @type {Phase} */
    this.phase = "sending";
    /** @type {any} The job, once the service has taken it. */
    this.job = null;
    this.progress = { completed: 0, total: 0, queue_position: null, eta_s: null };
    this.lost = false; // the connection, which is being looked for
    this.reason = ""; // why it waits or has failed, in words of the service
    this.retryAt = 0; // when it is sent again, by `performance.now()`
    this.onchange = () => {};
    /** @type {(job: any) => void} Called once, when the service has taken it. */
    this.onaccepted = () => {};
    /** @type {(index: number, image: string) => void} */
    this.onpreview = () => {};
  }

  /** Whether nothing more will happen. */
  get ended() {
    return ENDED.includes(this.phase);
  }

  /** @returns {Promise<any>} The job if it succeeded, else null. */
  async go() {
    // Nobody collects what a page that is gone has asked for.
    const leave = () => this.job && this.#api.send(`v1/jobs/${this.job.id}/cancel`);
    addEventListener("pagehide", leave);
    const place = this.#slots.take();
    try {
      await this.#submit();
      await place;
      await this.#follow();
    } catch (error) {
      if (this.#unwanted && !this.job) this.#become("canceled");
      else if (error instanceof Problem) this.#become(this.job ? "failed" : "refused", error.message);
      else throw error;
    } finally {
      removeEventListener("pagehide", leave);
      place.then(() => this.#slots.give());
    }
    return this.phase === "succeeded" ? this.job : null;
  }

  /** Stop it, wherever it is. */
  async cancel() {
    if (!this.job) {
      this.#unwanted = true;
      // A request that is under way may bring a job, and then that is canceled; but nobody waits for it for long.
      setTimeout(() => this.job || this.#end.abort(), this.phase === "waiting" ? 0 : CANCEL_PATIENCE_MS);
      return;
    }
    // If that fails, its events say how it goes on, and it can be tried again.
    await this.#api.json(`v1/jobs/${this.job.id}/cancel`, { method: "POST" }).catch(() => {});
  }

  /** Try at once instead of when it was planned. */
  hurry() {
    this.#again.abort();
  }

  async #submit() {
    // The same key each time: if an answer was lost, the next one brings the job that was already taken.
    const options = {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID?.() ?? `${Math.random()}` },
      body: JSON.stringify(this.request),
      signal: this.#end.signal,
    };
    for (let tries = 0; !this.job; tries += 1) {
      try {
        this.job = await this.#api.json("v1/jobs", options);
      } catch (error) {
        await this.#outlast(error, tries);
      }
    }
    this.lost = false;
    this.#learn(this.job);
    this.onaccepted(this.job);
    if (this.#unwanted) await this.cancel();
  }

  async #follow() {
    for (let tries = 0; !this.ended; tries += 1) {
      try {
        const events = this.#api.events(`v1/jobs/${this.job.id}/events`, this.#end.signal);
        for await (const { event, data } of events) {
          tries = 0;
          this.lost = false;
          this.#hear(event, data);
        }
        if (!this.ended) throw new ConnectionLost("the stream ended early");
      } catch (error) {
        await this.#outlast(error, tries);
      }
    }
  }

  #hear(event, data) {
    if (event === "preview") this.onpreview(data.index, data.image);
    else if (event === "progress") this.#become(data.status, "", data);
    else this.#learn(data);
  }

  #learn(job) {
    this.job = job;
    const { queue_position = null, eta_s = null } = job;
    this.#become(job.status, job.error?.detail ?? "", { ...job.progress, queue_position, eta_s });
  }

  /** Wait for a better moment, or throw what will not get better. */
  async #outlast(error, tries) {
    if (this.#unwanted && !this.job) throw error;
    const busy = error instanceof Problem && (error.status === 429 || error.status === 503);
    if (!busy && !(error instanceof ConnectionLost)) throw error;
    const seconds = busy ? (error.retryAfterS ?? 5) : Math.min(10, 0.5 * 2 ** tries);
    this.lost = !busy;
    this.retryAt = performance.now() + 1000 * seconds;
    this.#again = new AbortController();
    if (this.job) this.onchange();
    else this.#become("waiting", error.message);
    await pause(1000 * seconds, AbortSignal.any([this.#again.signal, this.#end.signal]));
    if (this.#end.signal.aborted) throw error;
  }

  #become(phase, reason = "", progress = null) {
    this.phase = phase;
    this.reason = reason;
    if (progress) this.progress = progress;
    this.onchange();
  }
}
