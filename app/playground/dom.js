/** @param {string} id @returns {any} The element with this id; it must exist. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/**
 * Make an element. Keys of `props` are properties where the element has one of that name, else attributes.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** @param {string} className @param {string | Node} label @param {((event: any) => void) | null} [onclick] */
export const button = (className, label, onclick = null) =>
  el("button", { type: "button", className, onclick }, label);

/** @param {number} ms @param {AbortSignal} [signal] Cuts the pause short. @returns {Promise<void>} */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** @returns {boolean} Whether the visitor asked for less motion. */
export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** @returns {number} A seed, as random as the browser can. */
export const drawSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

/** @param {HTMLElement} element Bring it into sight. */
export const reveal = (element) => element.scrollIntoView({ behavior: still() ? "auto" : "smooth" });
