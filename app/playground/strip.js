import { collect, hang } from "./collect.js";
import { button, el } from "./dom.js";
import { Run } from "./run.js";
import { Tile } from "./tile.js";
import { alternative, doing, plural } from "./words.js";

/** Several requests side by side, each a job of its own. */
export class Strip {
  #runs = [];

  /** @param {HTMLElement} element @param {import("./main.js").Page} page */
  constructor(element, page) {
    this.element = element;
    this.page = page;
  }

  /**
   * Make the pictures of these requests; whatever was under way here is canceled.
   * @param {any[]} requests
   * @param {string[]} captions
   * @param {any} model
   */
  async show(requests, captions, model) {
    for (const run of this.#runs) if (!run.ended) run.cancel();
    const runs = requests.map((request) => new Run(this.page.api, request, this.page.slots));
    this.#runs = runs;
    const stop = button("quiet", "Cancel these", () => runs.forEach((run) => run.ended || run.cancel()));
    const list = el("ol", { className: "tiles" });
    this.element.replaceChildren(list, stop);
    const ends = runs.map((run, k) => this.#one(run, captions[k], model, list));
    const made = (await Promise.all(ends)).filter(Boolean).length;
    stop.remove();
    if (runs === this.#runs) this.page.say(`${plural(made, "picture")} of ${runs.length} done.`);
  }

  async #one(run, caption, model, list) {
    const tile = new Tile(model, alternative(run.request), caption);
    const state = el("span", { className: "state" });
    tile.caption.append(el("br"), state);
    tile.showStart(run.request);
    list.append(el("li", {}, tile.element));
    run.onchange = () => (state.textContent = run.phase === "succeeded" ? "" : brief(run));
    run.onpreview = (_, image) => tile.preview(image);
    run.onchange();
    const ticking = setInterval(run.onchange, 1000);
    try {
      const job = await run.go();
      const [picture] = job ? await collect(this.page.api, job) : [];
      if (!picture) return tile.stop();
      return await hang(this.page, picture, tile);
    } catch (error) {
      state.textContent = `not fetched: ${error.message}`;
      return tile.stop();
    } finally {
      clearInterval(ticking);
    }
  }
}

/** @param {Run} run @returns {string} Few words, for there is little room. */
function brief(run) {
  const { completed, total } = run.progress;
  if (run.phase === "running" && !run.lost && total) return `${Math.round((100 * completed) / total)} %`;
  if (run.phase === "queued" && !run.lost) return "waiting";
  return doing(run);
}
