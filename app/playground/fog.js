import { Card } from "./card.js";
import { byId, reveal } from "./dom.js";
import { startingNoise, toPixels, toPng, toSample } from "./noise.js";
import { Run } from "./run.js";
import { Schedule, drown } from "./schedule.js";
import { plural } from "./words.js";

/** The fog view: a picture of the visitor's, drowned here, and brought back by the service. */
export class Fog {
  /** @type {Float32Array | null} */ #x0 = null;
  /** @type {Schedule | null} */ #schedule = null;
  /** @type {any} */ #model = null;
  #class = {};
  /** @type {Card | null} */ #card = null;

  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
    byId("file").addEventListener("change", (event) => this.open(event.target.files[0]));
    byId("t").addEventListener("input", () => this.#draw());
    byId("fog-go").addEventListener("click", () => this.#lift());
    const drop = byId("drop");
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragenter" || name === "dragover");
        if (name === "drop") this.open(event.dataTransfer.files[0]);
      });
    }
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
      if (!file) return;
      event.preventDefault();
      reveal(byId("fog"));
      this.open(file);
    });
  }

  /** @param {any} model The card of the model that is to lift the fog. */
  use(model) {
    if (this.#model?.id === model.id) return;
    this.#model = model;
    this.#schedule = model.log_snr?.length > 1 ? new Schedule(model.log_snr, model.num_train_timesteps) : null;
    byId("t").max = model.num_train_timesteps - 1;
    byId("fog-not").hidden = this.#schedule !== null;
    byId("drop").hidden = this.#schedule === null;
    this.#x0 = null;
    byId("panes").hidden = byId("fog-time").hidden = true;
  }

  /** Draw the fog again, for the form's seed or steps have changed. */
  refresh() {
    if (this.#x0) this.#draw();
  }

  /** @param {import("./store.js").Picture | undefined} picture Shown if there is none yet, so that t can be dragged. */
  suggest(picture) {
    if (picture && !this.#x0 && picture.request.model === this.#model?.id) this.reopen(picture);
  }

  /** @param {import("./store.js").Picture} picture One of our own: of this class, its pixels blocks. */
  async reopen({ blob, class_label }) {
    const known = this.#model?.class_names.includes(class_label);
    await this.open(blob, true, known ? { class_label } : {});
  }

  /**
   * @param {Blob | undefined} file
   * @param {boolean} [crisp] Whether its pixels are blocks.
   * @param {{class_label?: string}} [ofClass] What it shows; else the form says what it is to be.
   */
  async open(file, crisp = false, ofClass = {}) {
    if (!file || !this.#schedule) return;
    let picture;
    try {
      picture = await createImageBitmap(file);
    } catch {
      byId("drop-says").textContent = "This browser cannot read that as a picture. PNG, JPEG and WebP always work.";
      this.page.say(byId("drop-says").textContent);
      return;
    }
    const { width, height } = this.#model;
    const canvas = Object.assign(byId("clean"), { width, height });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.fillStyle = "white";
    pen.fillRect(0, 0, width, height);
    pen.imageSmoothingQuality = "high";
    const zoom = Math.min(picture.width / width, picture.height / height);
    const [w, h] = [zoom * width, zoom * height];
    pen.imageSmoothingEnabled = !crisp;
    pen.drawImage(picture, (picture.width - w) / 2, (picture.height - h) / 2, w, h, 0, 0, width, height);
    picture.close();
    this.#class = ofClass;
    this.#x0 = toSample(pen.getImageData(0, 0, width, height));
    byId("panes").hidden = byId("fog-time").hidden = false;
    this.#draw();
  }

  #request() {
    const request = { ...this.page.request(), ...this.#class, num_images: 1, timestep_spacing: "trailing" };
    return { way: this.#schedule.wayBack(byId("t").valueAsNumber, request.steps), request };
  }

  #draw() {
    const { width, height } = this.#model;
    const t = byId("t").valueAsNumber;
    const level = this.#schedule.at(t);
    const { way, request } = this.#request();
    const canvas = Object.assign(byId("drowned"), { width, height });
    const noise = startingNoise(request.seed || 0, this.#x0.length);
    canvas.getContext("2d").putImageData(toPixels(drown(this.#x0, noise, level), width, height), 0, 0);
    canvas.setAttribute("aria-label", `Your picture in noise at timestep ${t}`);
    byId("drowned-says").textContent = `In fog, t = ${t}`;
    byId("t").setAttribute("aria-valuetext", `timestep ${t}`);
    const { seed, steps, sampler } = request;
    const parts = `${level.alpha.toFixed(2)} × picture + ${level.sigma.toFixed(2)} × static of seed ${seed}.`;
    const back = `${plural(steps, "step")} of ${sampler} come back from t = ${way.t} in ${way.walked}.`;
    byId("t-says").textContent = `${parts} ${back}`;
  }

  async #lift() {
    const { way, request } = this.#request();
    byId("t").value = way.t;
    this.#draw();
    if (this.#card && !this.#card.run.ended) this.#card.run.cancel();
    const init_image = byId("clean").toDataURL("image/png");
    const body = { ...request, init_image, strength: way.strength, seed_to: undefined, seed_mix: undefined };
    const noise = startingNoise(request.seed, this.#x0.length);
    const start = toPng(drown(this.#x0, noise, this.#schedule.at(way.t)), this.#model.width, this.#model.height);
    const run = new Run(this.page.api, body, this.page.slots);
    this.#card = new Card(run, this.#model, { ...this.page, start });
    byId("fog-result").replaceChildren(this.#card.element);
    await this.#card.go();
  }
}
