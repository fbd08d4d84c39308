import { framesOf } from "./apng.js";
import { button, byId, el } from "./dom.js";
import { toFragment } from "./request.js";
import { Run } from "./run.js";
import * as snippets from "./snippets.js";
import { className, doing, shows } from "./words.js";

const FRAME_MS = 400; // between two frames, or they would flash
const TONGUES = { curl: snippets.curl, Python: snippets.python, JavaScript: snippets.javascript };

/** The dialog about one picture: what it is, where it can go, and the request as code. */
export class Detail {
  /** @type {import("./store.js").Picture | null} */ #picture = null;
  #tongue = "curl";
  #urls = [];
  #playing = 0;

  /**
   * @param {import("./main.js").Page & Record<"onuse" | "onfog" | "onremove", (of: any) => void>} page
   */
  constructor(page) {
    this.page = page;
    this.dialog = byId("detail");
    byId("detail-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => this.#free());
    byId("detail-tongues").append(
      ...Object.keys(TONGUES).map((name) => button("", name, () => this.#speak(name))),
      button("copy", "Copy", () => this.#copyCode()),
    );
  }

  /** @param {import("./store.js").Picture} picture */
  open(picture) {
    this.#free();
    this.#picture = picture;
    Object.assign(byId("detail-image"), { src: this.#url(picture.blob), alt: shows(picture) });
    byId("detail-title").textContent = className(picture.class_label) || picture.request.model;
    byId("detail-says").textContent = "";
    byId("detail-facts").replaceChildren(...facts(picture));
    byId("detail-actions").replaceChildren(...this.#actions(picture));
    this.#speak(this.#tongue);
    this.dialog.showModal();
  }

  #actions(picture) {
    const { request } = picture;
    const name = `${request.model}-${request.sampler}-${request.steps}-seed-${request.seed}`;
    const act = (text, onclick) => button("secondary", text, onclick);
    const leave = (text, then) => act(text, () => (this.dialog.close(), then()));
    const link = toFragment(request, picture.sha256);
    return [
      el("a", { className: "button primary", href: this.#url(picture.blob), download: `${name}.png` }, "Download PNG"),
      act("Copy link", () => this.#copy(new URL(link, location.href).href, "The link is copied.")),
      leave("Use settings", () => this.page.onuse(request)),
      act("Animation", (event) => this.#animate(picture, name, event.currentTarget)),
      leave("Into the fog", () => this.page.onfog(picture)),
      leave("Remove", () => this.page.onremove(picture)),
    ];
  }

  #speak(name) {
    this.#tongue = name;
    for (const button of byId("detail-tongues").querySelectorAll("button:not(.copy)")) {
      button.setAttribute("aria-pressed", String(button.textContent === name));
    }
    const { api } = this.page;
    byId("detail-code").textContent = TONGUES[name](api.url("v1/jobs"), this.#picture.request, api.keyed);
  }

  #copyCode() {
    this.#copy(byId("detail-code").textContent, `The ${this.#tongue} is copied.`);
  }

  async #copy(text, said) {
    try {
      await navigator.clipboard.writeText(text);
      byId("detail-says").textContent = said;
    } catch {
      // Only pages by https or on this machine may use the clipboard.
      byId("detail-code").textContent = text;
      getSelection()?.selectAllChildren(byId("detail-code"));
      byId("detail-says").textContent = "The browser lets no page copy here. It is selected for you to copy.";
    }
    this.page.say(byId("detail-says").textContent);
  }

  /** The same request once more, its steps kept: equal requests make equal pictures. */
  async #animate(picture, name, button) {
    button.disabled = true;
    const run = new Run(this.page.api, { ...picture.request, animation: true }, this.page.slots);
    const here = () => this.#picture === picture;
    run.onchange = () => here() && (byId("detail-says").textContent = doing(run));
    const ticking = setInterval(run.onchange, 1000);
    try {
      const job = await run.go();
      if (!job) return;
      const moving = await this.page.api.blob(`v1/jobs/${job.id}/animation`, "image/apng, image/png;q=0.5");
      const frames = await framesOf(moving);
      if (here()) byId("detail-says").replaceChildren(...this.#motion(frames, moving, name));
    } catch (error) {
      if (here()) byId("detail-says").textContent = `There is no animation: ${error.message}`;
    } finally {
      clearInterval(ticking);
      button.disabled = false;
    }
  }

  /** The way from static to the picture, to drag along or to play: so slowly that it never flashes. */
  #motion(frames, blob, name) {
    const { src, alt } = byId("detail-image");
    const last = frames.length - 1;
    const drag = el("input", { type: "range", min: 0, max: last, value: last, "aria-label": "From static to picture" });
    const show = () => {
      const at = drag.valueAsNumber;
      const done = at === last;
      drag.setAttribute("aria-valuetext", `frame ${at + 1} of ${frames.length}`);
      Object.assign(byId("detail-image"), { src: done ? src : frames[at], alt: done ? alt : `In progress: ${alt}` });
    };
    const play = button("secondary", "Play", () => (this.#playing ? stop() : start()));
    const stop = () => {
      clearInterval(this.#playing);
      this.#playing = 0;
      play.textContent = "Play";
    };
    const step = (at) => {
      drag.value = at;
      show();
      if (at >= last) stop();
    };
    const start = () => {
      play.textContent = "Stop";
      step(drag.valueAsNumber === last ? 0 : drag.valueAsNumber);
      this.#playing = setInterval(() => step(drag.valueAsNumber + 1), FRAME_MS);
    };
    drag.oninput = () => (stop(), show());
    const save = { className: "button secondary", href: this.#url(blob), download: `${name}-animation.png` };
    return [drag, el("span", { className: "motion" }, play, el("a", save, "Download APNG"))];
  }

  #url(blob) {
    const url = URL.createObjectURL(blob);
    this.#urls.push(url);
    return url;
  }

  #free() {
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
    clearInterval(this.#playing);
    this.#playing = 0;
    this.#picture = null;
  }
}

function facts(picture) {
  const { request } = picture;
  const pairs = { sampler: request.sampler, steps: request.steps, seed: request.seed };
  if (request.guidance_scale !== 1) pairs.guidance = request.guidance_scale;
  if (request.eta) pairs.eta = request.eta;
  if (request.init_image) pairs["from a picture, strength"] = request.strength;
  if (request.seed_to !== undefined) pairs["towards seed"] = `${request.seed_to}, ${request.seed_mix}`;
  pairs.model = `${request.model} ${picture.model_fingerprint.slice(0, 16)}`;
  pairs.engine = picture.engine;
  pairs["SHA-256"] = `${picture.sha256.slice(0, 16)}…`;
  return Object.entries(pairs).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]);
}
