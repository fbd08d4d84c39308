import { collect, hang } from "./collect.js";
import { button, el } from "./dom.js";
import { Tile } from "./tile.js";
import { alternative, className, doing, plural } from "./words.js";

const SEEDS = 2 ** 32;

/** A run on the page: what it does, how far it is, and its pictures on their way. */
export class Card {
  #ticking = 0;

  /**
   * @param {import("./run.js").Run} run
   * @param {any} model The card of its model.
   * @param {import("./main.js").Page & {start?: string}} page `start` is shown until there is something better; the
   *   static of the seed if it is left out.
   */
  constructor(run, model, page) {
    this.run = run;
    this.page = page;
    this.tiles = Array.from({ length: run.request.num_images ?? 1 }, (_, k) => this.#tile(k, model));
    this.status = el("p", { className: "doing" });
    this.bar = el("progress", { max: 1, value: 0, "aria-label": "Progress" });
    this.stop = button("quiet", "Cancel", () => this.#cancel());
    this.again = button("quiet", "Try now", () => run.hurry());
    const tiles = el("div", { className: `tiles of-${this.tiles.length}` });
    tiles.append(...this.tiles.map((tile) => tile.element));
    const controls = el("div", { className: "controls" }, this.status, this.again, this.stop);
    this.element = el("article", { className: "run" }, controls, this.bar, tiles);
    run.onchange = () => this.#show();
    run.onpreview = (index, image) => this.tiles[index]?.preview(image);
    this.#show();
  }

  /** @returns {Promise<import("./store.js").Picture[]>} The pictures, when there are any. */
  async go() {
    this.#ticking = setInterval(() => this.#show(), 1000);
    const job = await this.run.go();
    clearInterval(this.#ticking);
    if (job) return this.#finish(job);
    for (const tile of this.tiles) tile.stop();
    this.page.say(doing(this.run));
    return [];
  }

  #tile(index, model) {
    const { request } = this.run;
    const seed = (request.seed + index) % SEEDS;
    const names = model.class_names;
    const class_label = request.class_label ?? (names.length ? names[seed % names.length] : null);
    const tile = new Tile(model, alternative({ ...request, seed, class_label }), ...caption(seed, class_label));
    const seed_to = request.seed_to === undefined ? undefined : (request.seed_to + index) % SEEDS;
    tile.showStart({ ...request, seed, seed_to }, this.page.start);
    return tile;
  }

  async #cancel() {
    this.stop.disabled = true;
    await this.run.cancel();
    this.stop.disabled = false;
  }

  async #finish(job) {
    let pictures;
    try {
      pictures = await collect(this.page.api, job);
    } catch (error) {
      this.status.textContent = `It is done, but its pictures could not be fetched: ${error.message}`;
      return [];
    }
    const kept = [];
    for (const [k, picture] of pictures.entries()) kept.push(await hang(this.page, picture, this.tiles[k]));
    this.page.say(`Done: ${this.tiles.length === 1 ? this.tiles[0].alt : plural(kept.length, "picture")}.`);
    return kept;
  }

  #show() {
    const { run } = this;
    const { completed, total } = run.progress;
    const said = doing(run);
    this.status.textContent = said;
    this.element.dataset.phase = run.lost ? "lost" : run.phase;
    this.element.toggleAttribute("data-live", !run.ended);
    this.bar.value = run.phase === "succeeded" ? 1 : total ? completed / total : 0;
    this.bar.hidden = this.stop.hidden = run.ended;
    this.again.hidden = run.ended || !(run.lost || run.phase === "waiting");
    if (!run.ended && run.phase !== "sending") this.page.say(said);
  }
}

/** @param {number} seed @param {any} class_label @returns {any[]} */
const caption = (seed, class_label) =>
  class_label ? [el("b", { className: "named" }, className(class_label)), `seed ${seed}`] : [`seed ${seed}`];
