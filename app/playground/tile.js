import { button, el, still } from "./dom.js";
import { startOf, toPng } from "./noise.js";

/** The least time between two previews of a picture: nothing here may flash three times a second. */
const PREVIEW_EVERY_MS = 400;

/** One picture on its way: first the static of its seed, then what the model sees in it, then the picture. */
export class Tile {
  #shownAt = -Infinity;
  #timer = 0;
  #next = "";

  /** @param {{width: number, height: number}} size @param {string} alt @param {...(Node | string)} caption */
  constructor(size, alt, ...caption) {
    this.size = size;
    this.alt = alt;
    this.image = el("img", { alt: "", width: size.width, height: size.height, decoding: "async" });
    this.button = button("shot", this.image);
    this.button.disabled = true;
    this.caption = el("figcaption", {}, ...caption);
    this.element = el("figure", { className: "tile" }, this.button, this.caption);
  }

  /** @param {any} request Show the static that its picture starts from. @param {string} [start] Or this picture. */
  showStart(request, start) {
    this.#cancel();
    const { width, height } = this.size;
    this.image.src = start ?? toPng(startOf(request, 3 * width * height), width, height);
    this.image.alt = `Static: ${this.alt}`;
    this.element.dataset.state = "static";
  }

  /** @param {string} source Show a picture of the work in progress, unless the one before is too recent. */
  preview(source) {
    if (still() || !source.startsWith("data:image/png;base64,")) return;
    this.#next = source;
    if (this.#timer) return;
    const wait = this.#shownAt + PREVIEW_EVERY_MS - performance.now();
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#shownAt = performance.now();
      this.image.src = this.#next;
      this.image.alt = `In progress: ${this.alt}`;
      this.element.dataset.state = "preview";
    }, Math.max(0, wait));
  }

  /** @param {string} source Show the picture itself. @param {string} alt @param {() => void} onopen */
  finish(source, alt, onopen) {
    this.#cancel();
    this.image.src = source;
    this.image.alt = this.alt = alt;
    this.element.dataset.state = "done";
    this.button.disabled = false;
    this.button.onclick = onopen;
  }

  /** There will be no picture. */
  stop() {
    this.#cancel();
    this.element.dataset.state = "stopped";
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }
}
