import { pause } from "./dom.js";

/**
 * A picture as this browser keeps it.
 * @typedef {object} Picture
 * @property {number} [id] Given by the store.
 * @property {Blob} blob The PNG, as the service sent it.
 * @property {string} sha256
 * @property {Record<string, any>} request What makes it again.
 * @property {string | null} class_label
 * @property {string} model_fingerprint
 * @property {string} engine
 * @property {string} made_at
 */

const MOST = 500;
const PATIENCE_MS = 5000; // the rest of the page waits so long for what was kept

/** This browser's pictures, in IndexedDB. */
export class Store {
  /** @type {IDBDatabase | null} */ #database = null;
  #inMemory = 0;
  /** Whether pictures outlive the page. */
  lasting = true;

  /** To be awaited before anything else. */
  async open() {
    try {
      const opening = indexedDB.open("unfog", 1);
      opening.onupgradeneeded = () =>
        opening.result.createObjectStore("pictures", { keyPath: "id", autoIncrement: true });
      const late = pause(PATIENCE_MS).then(() => Promise.reject(new Error("the browser does not open its store")));
      this.#database = await Promise.race([done(opening), late]);
    } catch {
      this.lasting = false;
    }
  }

  /** @returns {Promise<Picture[]>} Oldest first. */
  async all() {
    if (!this.#database) return [];
    const pictures = await done(this.#pictures("readonly").getAll());
    for (const { id } of pictures.slice(0, -MOST)) await this.remove(id);
    return pictures.slice(-MOST);
  }

  /** @param {Picture} picture @returns {Promise<Picture>} With its id. */
  async add(picture) {
    const kept = { ...picture, id: -++this.#inMemory };
    try {
      kept.id = await done(this.#pictures("readwrite").add(picture));
    } catch {
      this.lasting = false; // forbidden, or no room: it lasts as long as the page
    }
    return kept;
  }

  /** @param {number} id */
  async remove(id) {
    if (id > 0) await done(this.#pictures("readwrite").delete(id));
  }

  #pictures(mode) {
    return this.#database.transaction("pictures", mode).objectStore("pictures");
  }
}

/** @param {IDBRequest} request @returns {Promise<any>} Its result. */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
