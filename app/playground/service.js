import { ConnectionLost } from "./api.js";
import { byId, pause } from "./dom.js";

const LOOK_EVERY_MS = 3000;
const SELDOM = 10; // looks, when there is no reason to look

/** What the service has to offer, and what stands in the way: no answer, no key, no model, no worker. */
export class Service {
  #refused = false;

  /**
   * @param {import("./api.js").Api} api
   * @param {(text: string) => void} say
   */
  constructor(api, say) {
    this.api = api;
    this.say = say;
    /** How many runs wait for a worker: then it is worth looking. */
    this.waiting = 0;
    /** @type {(models: any[]) => void} Called when the service has other models than before. */
    this.onmodels = () => {};
    api.onKeyNeeded = (reason) => this.#askKey(reason);
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      byId("key-form").hidden = true;
      api.useKey(byId("key").value);
      byId("key").value = "";
    });
  }

  /** @returns {Promise<any[]>} The models, as soon as there are any. */
  async open() {
    for (;;) {
      try {
        const { data } = await this.api.json("v1/models");
        if (data.length) {
          this.#tell(data);
          this.#keepLooking(data);
          return data;
        }
        this.#notice("No worker has announced a model yet. Looking again every few seconds.");
      } catch (error) {
        this.#notice(`Nothing can be made now: ${error.message}. Looking again every few seconds.`);
      }
      await pause(LOOK_EVERY_MS);
    }
  }

  /** Look for workers while there are none, or while something waits for them; now and then anyway. */
  async #keepLooking(models) {
    let known = names(models);
    for (let looks = 1; ; looks += 1) {
      await pause(LOOK_EVERY_MS);
      if (document.hidden || (byId("notice").hidden && !this.waiting && looks % SELDOM)) continue;
      try {
        const { data } = await this.api.json("v1/models");
        this.#tell(data);
        if (data.length && names(data) !== known) this.onmodels(data);
        known = names(data);
      } catch (error) {
        const gone = error instanceof ConnectionLost;
        this.#notice(gone ? "The service does not answer. Looking again every few seconds." : error.message);
      }
    }
  }

  #tell(models) {
    const without = models.filter((card) => !card.workers).map((card) => card.id);
    const names = without.length < models.length ? ` for ${without.join(", ")}` : "";
    const said = `No worker is running${names}. What you ask for is kept, and made when one comes back.`;
    this.#notice(without.length ? said : "");
  }

  #notice(text) {
    const notice = byId("notice");
    if (notice.textContent === text) return;
    notice.textContent = text;
    notice.hidden = !text;
    if (text) this.say(text);
  }

  #askKey(reason) {
    if (this.#refused && this.api.keyed) byId("key-hint").textContent = `That key does not open it: ${reason}`;
    this.#refused = true;
    if (!byId("key-form").hidden) return;
    byId("key-form").hidden = false;
    byId("key").focus();
    this.say("This service takes calls with a key only.");
  }
}

/** @param {any[]} models */
const names = (models) => models.map((card) => `${card.id} ${card.fingerprint}`).join();
