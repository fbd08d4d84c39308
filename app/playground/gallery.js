import { button, byId, el } from "./dom.js";
import { className, shows } from "./words.js";

/** This browser's pictures, newest first. */
export class Gallery {
  #shown = new Map(); // by id: the picture, its item in the list, its URL

  /** @param {import("./store.js").Store} store @param {(picture: import("./store.js").Picture) => void} onopen */
  constructor(store, onopen) {
    this.store = store;
    this.onopen = onopen;
    this.onchange = () => {};
    this.list = byId("gallery");
    byId("forget").addEventListener("click", () => this.#forgetAll());
  }

  /** Show what the store has. */
  async open() {
    await this.store.open();
    for (const picture of await this.store.all()) this.#show(picture);
    this.#told();
  }

  /** @returns {import("./store.js").Picture | undefined} */
  get newest() {
    return [...this.#shown.values()].at(-1)?.picture;
  }

  /** @param {import("./store.js").Picture} picture @returns {Promise<import("./store.js").Picture>} As it is kept. */
  async add(picture) {
    const known = [...this.#shown.values()].find((one) => one.picture.sha256 === picture.sha256);
    if (known) return known.picture;
    const kept = await this.store.add(picture);
    this.#show(kept);
    this.#told();
    return kept;
  }

  /** @param {import("./store.js").Picture} picture */
  async remove(picture) {
    await this.store.remove(picture.id);
    const { item, url } = this.#shown.get(picture.id);
    item.remove();
    URL.revokeObjectURL(url);
    this.#shown.delete(picture.id);
    this.#told();
  }

  async #forgetAll() {
    if (!confirm("Remove all pictures from this browser?")) return;
    for (const { picture } of [...this.#shown.values()]) await this.remove(picture);
  }

  #show(picture) {
    const url = URL.createObjectURL(picture.blob);
    const image = el("img", { alt: shows(picture), loading: "lazy", decoding: "async", src: url });
    const { sampler, steps, seed } = picture.request;
    const name = el("b", { className: "named" }, className(picture.class_label) || picture.request.model);
    const caption = el("figcaption", {}, name, `${sampler} ${steps} · ${seed}`);
    const item = el("li", {}, el("figure", { className: "tile" }, button("shot", image, () => this.onopen(picture)), caption));
    this.list.prepend(item);
    this.#shown.set(picture.id, { picture, item, url });
  }

  #told() {
    if (!this.store.lasting) byId("kept").textContent = "This browser keeps nothing: they last until you leave.";
    byId("no-pictures").hidden = this.#shown.size > 0;
    byId("forget").hidden = this.#shown.size === 0;
    this.onchange();
  }
}
