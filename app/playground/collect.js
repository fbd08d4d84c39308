import { ConnectionLost } from "./api.js";
import { pause } from "./dom.js";
import { requestFor } from "./request.js";
import { shows } from "./words.js";

/**
 * Fetch the pictures of a job that has succeeded.
 * @param {import("./api.js").Api} api
 * @param {any} job
 * @returns {Promise<import("./store.js").Picture[]>} In the order of the job.
 */
export async function collect(api, job) {
  const pictures = [];
  for (const image of job.images) {
    pictures.push({
      blob: await persistently(() => api.blob(`v1/jobs/${job.id}/images/${image.index}.png`, "image/png")),
      sha256: image.sha256,
      request: requestFor(job, image),
      class_label: image.class_label,
      model_fingerprint: job.model_fingerprint,
      engine: job.engine ?? "",
      made_at: job.finished_at,
    });
  }
  return pictures;
}

/**
 * Keep a picture, and show it where it was waited for.
 * @param {import("./main.js").Page} page
 * @param {import("./store.js").Picture} picture
 * @param {import("./tile.js").Tile} tile
 * @returns {Promise<import("./store.js").Picture>} As it is kept.
 */
export async function hang(page, picture, tile) {
  const kept = await page.onpicture(picture);
  tile.finish(URL.createObjectURL(kept.blob), shows(kept), () => page.onopen(kept));
  return kept;
}

/** @template T @param {() => Promise<T>} call @returns {Promise<T>} Called again while nobody answers. */
async function persistently(call) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ConnectionLost) || tries === 8) throw error;
      await pause(Math.min(10_000, 500 * 2 ** tries));
    }
  }
}
