/** Says things to those who cannot see the page: the newest, at most every five seconds. */
export class Announcer {
  static PAUSE_MS = 5000;
  #element;
  #next = "";
  #timer = 0;
  #saidAt = -Infinity;

  /** @param {HTMLElement} element An aria-live region. */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text What is said now, or as soon as the last words are five seconds old. */
  say(text) {
    this.#next = text;
    if (this.#timer) return;
    const wait = Math.max(0, this.#saidAt + Announcer.PAUSE_MS - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#saidAt = performance.now();
      this.#element.textContent = this.#next;
    }, wait);
  }
}
