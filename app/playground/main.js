import { Api } from "./api.js";
import { Card } from "./card.js";
import { Chart } from "./chart.js";
import { Detail } from "./detail.js";
import { byId, drawSeed, el, reveal } from "./dom.js";
import { Fog } from "./fog.js";
import { AskForm } from "./form.js";
import { Gallery } from "./gallery.js";
import { fromFragment, toFragment } from "./request.js";
import { Run, Slots } from "./run.js";
import { Announcer } from "./say.js";
import { Service } from "./service.js";
import { Store } from "./store.js";
import { Strip } from "./strip.js";
import { Tile } from "./tile.js";
import { alternative, plural } from "./words.js";

/**
 * What the parts of the page share.
 * @typedef {object} Page
 * @property {Api} api
 * @property {Slots} slots
 * @property {(text: string) => void} say
 * @property {(picture: import("./store.js").Picture) => Promise<import("./store.js").Picture>} onpicture Keeps it.
 * @property {(picture: import("./store.js").Picture) => void} onopen Shows it large.
 * @property {() => any} request What the form asks for.
 */

const STRIP_STEPS = [1, 5, 10, 20, 50, 100, 1000];

/** The page: what is on it, and what leads to what. */
class Playground {
  #promised = "";
  #model = null;

  constructor() {
    const announcer = new Announcer(byId("live"));
    const say = (text) => announcer.say(text);
    const api = new Api(new URL(".", location.href));
    this.service = new Service(api, say);
    this.gallery = new Gallery(new Store(), (picture) => this.detail.open(picture));
    this.page = {
      api,
      say,
      slots: new Slots(2),
      onpicture: (picture) => this.gallery.add(picture),
      onopen: (picture) => this.detail.open(picture),
      request: () => this.form.request(),
    };
    // What is made below the stage leaves it connections of its own.
    const below = { ...this.page, slots: new Slots(3) };
    this.form = new AskForm(byId("ask"), (request) => this.#make(request));
    this.fog = new Fog(below);
    this.chart = new Chart(byId("chart"), (row) => this.#use(row));
    this.strips = { steps: new Strip(byId("steps-strip"), below), walk: new Strip(byId("walk-strip"), below) };
    this.detail = new Detail({
      ...below,
      onuse: (request) => this.#use(request),
      onfog: (picture) => this.#intoFog(picture),
      onremove: (picture) => this.gallery.remove(picture),
    });
  }

  async start() {
    grain(byId("static"));
    this.gallery.onchange = () => (byId("fog-last").hidden = !this.gallery.newest);
    await this.gallery.open();
    new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.fog.suggest(this.gallery.newest)).observe(
      byId("fog"),
    );
    byId("fog-last").addEventListener("click", () => this.#intoFog(this.gallery.newest));
    byId("steps-go").addEventListener("click", () => this.#allSteps());
    byId("walk-form").addEventListener("submit", (event) => this.#walk(event));
    byId("walk-dice").addEventListener("click", () => {
      const { from, to } = byId("walk-form").elements;
      [from.value, to.value] = [drawSeed(), drawSeed()];
    });
    const models = await this.service.open();
    this.form.onchange = () => this.#changed();
    this.form.offer(models);
    this.service.onmodels = (others) => this.form.offer(others);
    for (const id of ["go", "steps-go", "walk-go"]) byId(id).disabled = false;
    this.#followLink();
    addEventListener("hashchange", () => this.#followLink());
  }

  /** Make the pictures of a request, on the stage. */
  async #make(request) {
    const promised = this.#promised;
    const run = new Run(this.page.api, request, this.page.slots);
    const card = new Card(run, this.form.model, this.page);
    run.onaccepted = (job) => {
      history.replaceState(null, "", toFragment(job.request));
      this.form.nextSeed();
    };
    const stage = byId("stage");
    for (const old of [...stage.children]) if (!old.matches("[data-live]")) old.remove();
    stage.prepend(card.element);
    if (card.element.getBoundingClientRect().top < 0) reveal(byId("make"));
    this.service.waiting += 1;
    const [first] = await card.go();
    this.service.waiting -= 1;
    if (!promised || !first) return;
    card.status.textContent += first.sha256.startsWith(promised)
      ? " The same bytes as the link promises."
      : " Not the bytes that the link promises: this service has other weights, or computes in another way.";
  }

  /** Something in the form is different. */
  #changed() {
    this.#promised = "";
    if (this.#model !== this.form.model) {
      this.#model = this.form.model;
      this.chart.show(this.#model.quality ?? [], this.#model.default_guidance_scale);
      byId("measured").textContent = byId("chart").hidden
        ? `Nothing has been measured for ${this.#model.id}; see for yourself.`
        : "Measured for this model on held-out pictures; pick a point to use its settings.";
      this.fog.use(this.#model);
    }
    this.fog.refresh();
    if (!byId("stage").querySelector(".run")) this.#showStart();
  }

  /** Until the first run, the stage shows what it would start from. */
  #showStart() {
    const request = this.form.request();
    if (!Number.isInteger(request.seed)) return;
    const tile = new Tile(this.#model, alternative(request), `Seed ${request.seed} starts as this static.`);
    tile.showStart(request);
    byId("stage").replaceChildren(tile.element);
  }

  /** Put the request of the page's own link into the form; making it is the visitor's to decide. */
  #followLink() {
    const found = fromFragment(location.hash);
    if (!found) return;
    this.form.fill(found.request);
    this.#promised = found.sha;
    this.page.say("The request of this link is in the form.");
    byId("go").focus();
  }

  #use(request) {
    this.form.fill({ ...this.form.request(), ...request });
    reveal(byId("make"));
    byId("go").focus({ preventScroll: true });
  }

  #intoFog(picture) {
    reveal(byId("fog"));
    this.fog.reopen(picture);
  }

  #allSteps() {
    const request = { ...this.form.request(), num_images: 1 };
    const counts = STRIP_STEPS.filter((steps) => steps <= this.form.sampler.max_steps);
    const requests = counts.map((steps) => ({ ...request, steps }));
    this.strips.steps.show(requests, counts.map((steps) => plural(steps, "step")), this.#model);
  }

  #walk(event) {
    event.preventDefault();
    const { from, to, count } = event.target.elements;
    const { init_image: _, strength: __, ...asked } = this.form.request();
    const ends = { ...asked, num_images: 1, seed: from.valueAsNumber, seed_to: to.valueAsNumber };
    const mixes = Array.from({ length: count.valueAsNumber }, (_, k) => k / (count.valueAsNumber - 1));
    const requests = mixes.map((mix) => ({ ...ends, seed_mix: Math.round(1e4 * mix) / 1e4 }));
    this.strips.walk.show(requests, mixes.map((mix) => `${Math.round(100 * mix)} %`), this.#model);
  }
}

/** A word that dissolves: block by block, more of it the further right. */
function grain(word) {
  const [width, height, block] = [402, 102, 6];
  const canvas = el("canvas", { width, height });
  const pen = canvas.getContext("2d");
  for (let x = 0; x < width; x += block) {
    for (let y = 0; y < height; y += block) {
      pen.fillStyle = `rgb(0 0 0 / ${1 - 0.5 * Math.random() * Math.min(1, (2 * x) / width)})`;
      pen.fillRect(x, y, block, block);
    }
  }
  word.style.mask = `url(${canvas.toDataURL()})`;
}

new Playground().start();
