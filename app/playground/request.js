/*
 * The request of one picture: out of a job, into a link's fragment and back. The fragment has the fields of
 * `POST /v1/jobs`, and `sha`, the first digits of the picture's SHA-256, by which a link is held to its word.
 */

const KINDS = {
  model: String,
  sampler: String,
  steps: Number,
  num_images: Number,
  seed: Number,
  class_label: String,
  guidance_scale: Number,
  eta: Number,
  timestep_spacing: String,
  scale: Number,
  init_image: String,
  strength: Number,
  seed_to: Number,
  seed_mix: Number,
};

const SEEDS = 2 ** 32;

/**
 * What makes one picture of a job again, and nothing that does not matter to it.
 * @param {any} job
 * @param {{index: number, seed: number, class_label: string | null}} image
 * @returns {Record<string, any>}
 */
export function requestFor(job, image) {
  const { request } = job;
  const seed_to = typeof request.seed_to === "number" ? (request.seed_to + image.index) % SEEDS : null;
  return known({ ...request, num_images: 1, seed: image.seed, class_label: image.class_label, seed_to });
}

/** @param {Record<string, any>} request @param {string} [sha256] @returns {string} `#model=…`. */
export function toFragment(request, sha256 = "") {
  const fields = new URLSearchParams(Object.entries(known(request)).map(([name, value]) => [name, String(value)]));
  if (request.num_images === 1) fields.delete("num_images");
  if (sha256) fields.set("sha", sha256.slice(0, 16));
  return `#${fields}`;
}

/**
 * @param {string} fragment `location.hash`.
 * @returns {{request: Record<string, any>, sha: string} | null} Null where the fragment is no request.
 */
export function fromFragment(fragment) {
  if (!fragment.includes("=")) return null;
  const fields = new URLSearchParams(fragment.slice(1));
  const request = {};
  for (const [name, kind] of Object.entries(KINDS)) {
    const text = fields.get(name);
    if (text === null || text === "") continue;
    const value = kind(text);
    if (kind === String || Number.isFinite(value)) request[name] = value;
  }
  return Object.keys(request).length ? { request, sha: fields.get("sha") ?? "" } : null;
}

/** The fields that decide what a picture looks like, those without a value left out. */
function known(request) {
  const pairs = Object.keys(KINDS).map((name) => [name, request[name]]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== null && value !== undefined));
}
