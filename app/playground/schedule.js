/** A model's noise schedule: how much of a picture is left at each timestep. */
export class Schedule {
  #points;

  /**
   * @param {number[]} logSnr ln(ᾱ/(1-ᾱ)) at points that are spread evenly from the first timestep to the last.
   * @param {number} timesteps How many the model was trained with.
   */
  constructor(logSnr, timesteps) {
    this.#points = logSnr;
    this.timesteps = timesteps;
  }

  /** @param {number} t @returns {{alpha: number, sigma: number}} √ᾱ and √(1-ᾱ). */
  at(t) {
    const last = this.#points.length - 1;
    const place = (t / (this.timesteps - 1)) * last;
    const before = Math.min(last - 1, Math.floor(place));
    const [low, high] = [this.#points[before], this.#points[before + 1]];
    const kept = 1 / (1 + Math.exp(-(low + (place - before) * (high - low))));
    return { alpha: Math.sqrt(kept), sigma: Math.sqrt(1 - kept) };
  }

  /**
   * The way back from t in a run of so many steps, spread `trailing`: its timesteps are T, T - T/S, … less one.
   * @param {number} t
   * @param {number} steps
   * @returns {{t: number, walked: number, strength: number}} The start nearest to t, the steps from there, and the
   *   `strength` that asks for them.
   */
  wayBack(t, steps) {
    const walked = Math.min(steps, Math.max(1, Math.round(((t + 1) * steps) / this.timesteps)));
    // Half a step more than needed, since the service rounds down; the least strengths are thousandths.
    const strength = Math.min(1, Math.round(((walked + 0.5) / steps) * 1e6) / 1e6);
    const index = steps - walked;
    return { t: roundHalfEven(this.timesteps - (index * this.timesteps) / steps) - 1, walked, strength };
  }
}

/** As the service rounds. */
function roundHalfEven(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

/**
 * A picture drowned to a timestep: x_t = √ᾱ x0 + √(1-ᾱ) ε (Ho et al. 2020, equation 4).
 * @param {Float32Array} x0
 * @param {Float32Array} noise
 * @param {{alpha: number, sigma: number}} level
 * @returns {Float32Array}
 */
export const drown = (x0, noise, { alpha, sigma }) => x0.map((value, i) => alpha * value + sigma * noise[i]);
