import { button, byId, drawSeed, el, still } from "./dom.js";
import { className, plural } from "./words.js";

const FILE_PX = 256; // about the side of a picture that is saved, unless the visitor wants it otherwise
const EXTRAS = ["timestep_spacing", "init_image", "strength", "seed_to", "seed_mix"];

/** The form on the left: what it offers follows the model and the sampler. */
export class AskForm {
  /** @type {any[]} */ #models = [];
  #extras = {};

  /** @param {HTMLFormElement} form @param {(request: any) => void} onask */
  constructor(form, onask) {
    this.form = form;
    this.fields = form.elements;
    /** Called when anything in the form has changed. */
    this.onchange = () => {};
    this.fields.seed.value = drawSeed();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      onask(this.request());
    });
    form.addEventListener("input", (event) => this.#changed(/** @type {any} */ (event.target)));
    byId("dice").addEventListener("click", () => this.drawSeed());
  }

  /** @returns {any} The card of the chosen model. */
  get model() {
    return this.#models.find((card) => card.id === this.fields.model.value) ?? this.#models[0];
  }

  /** @returns {any} */
  get sampler() {
    return this.model?.sampler_details.find((card) => card.name === this.fields.sampler.value);
  }

  /** @param {any[]} models What the service has, the default first. What was chosen stays, if it is there. */
  offer(models) {
    const before = this.fields.model.value;
    const stays = models.some((card) => card.id === before);
    this.#models = models;
    this.#options("model", models.map((card) => [card.id, card.id]), stays ? before : models[0].id);
    if (!stays) this.#followModel();
    this.#tell();
  }

  /** @param {Record<string, any>} request Put it into the form, as far as this service can do it. */
  fill(request) {
    const { fields } = this;
    const missing = [];
    const choose = (name) => {
      const value = String(request[name] ?? "");
      if ([...fields[name].options].some((option) => option.value === value)) fields[name].value = value;
      else if (value) missing.push(`${name === "class_label" ? "class" : name} ${value}`);
    };
    choose("model");
    this.#followModel();
    for (const name of ["sampler", "class_label", "scale"]) choose(name);
    this.#followSampler();
    for (const name of ["steps", "num_images", "guidance_scale", "eta"]) {
      if (request[name] !== undefined) fields[name].value = request[name];
    }
    if (request.num_images === undefined) fields.num_images.value = 1;
    if (request.seed !== undefined) {
      fields.seed.value = request.seed;
      byId("keep").checked = true;
    }
    const given = EXTRAS.filter((name) => name in request);
    this.#extras = Object.fromEntries(given.map((name) => [name, request[name]]));
    this.#slide();
    this.#tell();
    if (missing.length) byId("cost").append(` This service has no ${missing.join(", no ")}: that would be another picture.`);
  }

  /** @returns {Record<string, any>} The body of `POST /v1/jobs`. */
  request() {
    const { fields } = this;
    const request = {
      model: this.model.id,
      sampler: fields.sampler.value,
      steps: fields.steps.valueAsNumber,
      num_images: fields.num_images.valueAsNumber,
      seed: fields.seed.valueAsNumber,
      scale: Number(fields.scale.value),
      preview: !still(),
      ...this.#extras,
    };
    if (fields.class_label.value) request.class_label = fields.class_label.value;
    if (!fields.guidance_scale.disabled) request.guidance_scale = fields.guidance_scale.valueAsNumber;
    if (!fields.eta.disabled) request.eta = fields.eta.valueAsNumber;
    return request;
  }

  /** Another seed, unless this one is to be kept. */
  nextSeed() {
    if (!byId("keep").checked) this.drawSeed();
  }

  drawSeed() {
    this.fields.seed.value = drawSeed();
    this.#tell();
  }

  #changed(target) {
    if (target.name === "model") this.#followModel();
    else if (target.name === "sampler") this.#followSampler();
    else if (target.name === "steps") this.#slide();
    else if (target.id === "steps-slide") this.#slid();
    else if (target.name === "seed") byId("keep").checked = true;
    this.#tell();
  }

  #followModel() {
    const card = this.model;
    const classes = card.class_names.map((name) => [name, className(name)]);
    this.#options("class_label", [["", classes.length ? "any, by seed" : "none"], ...classes], "");
    this.fields.class_label.disabled = !classes.length;
    this.#options("sampler", card.samplers.map((name) => [name, name]), card.default_sampler);
    this.fields.steps.value = card.default_steps;
    this.fields.guidance_scale.value = card.default_guidance_scale;
    this.fields.guidance_scale.disabled = !card.guided;
    const scales = [1, 2, 4, 8, 16].map((n) => [n, `${n * card.width} × ${n * card.height}`]);
    this.#options("scale", scales, scales.findLast(([n]) => n * card.width <= FILE_PX)?.[0] ?? 1);
    this.#followSampler();
  }

  #followSampler() {
    const { sampler, fields } = this;
    if (!sampler) return;
    fields.eta.disabled = !sampler.takes_eta;
    fields.steps.max = sampler.max_steps;
    if (fields.steps.valueAsNumber > sampler.max_steps) fields.steps.value = sampler.max_steps;
    byId("sampler-says").textContent = sampler.summary;
    const guidance = this.model.guided ? "Guidance other than 1 pushes towards the class and costs twice. " : "";
    byId("finer").textContent = `${guidance}Eta is noise that ddim adds back at each step.`;
    this.#slide();
  }

  /** The slider runs in ratios: as far from 1 to 10 as from 100 to 1000. */
  #slide() {
    const { valueAsNumber, max } = this.fields.steps;
    byId("steps-slide").value = (100 * Math.log(valueAsNumber || 1)) / Math.log(Number(max));
    byId("steps-slide").setAttribute("aria-valuetext", plural(valueAsNumber, "step"));
  }

  #slid() {
    const { steps } = this.fields;
    steps.value = Math.round(Number(steps.max) ** (byId("steps-slide").valueAsNumber / 100));
    byId("steps-slide").setAttribute("aria-valuetext", plural(steps.valueAsNumber, "step"));
  }

  #tell() {
    if (!this.sampler) return;
    const { steps = 0, num_images = 0, guidance_scale = 1, strength } = this.request();
    const walked = strength === undefined ? steps : Math.min(steps, Math.floor(steps * strength));
    const cost = num_images * walked * this.sampler.evaluations_per_step * (guidance_scale === 1 ? 1 : 2);
    const say = ([name, value]) => (name === "init_image" ? "a picture to start from" : `${name} ${value}`);
    const extras = Object.entries(this.#extras).map(say);
    byId("cost").textContent = cost ? `${plural(cost, "evaluation")} of the network.` : "";
    if (extras.length) {
      const drop = () => {
        this.#extras = {};
        this.#tell();
      };
      byId("cost").append(` With ${extras.join(", ")}. `, button("plain", "Leave that out", drop));
    }
    this.onchange();
  }

  #options(name, pairs, chosen) {
    const select = this.fields[name];
    select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
    select.value = chosen;
  }
}
