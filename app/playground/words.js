/** @param {string | null | undefined} name @returns {string} A class as people write it. */
export const className = (name) => (name ? name.replaceAll("_", " ") : "");

/**
 * What a picture shows, for those who cannot see it.
 * @param {{class_label?: string | null, seed: number, sampler: string, steps: number}} of
 * @returns {string}
 */
export function alternative({ class_label, seed, sampler, steps }) {
  return `${class_label ? `${className(class_label)}, ` : ""}seed ${seed}, ${sampler} in ${plural(steps, "step")}`;
}

/** @param {import("./store.js").Picture} picture @returns {string} What it shows. */
export const shows = ({ request, class_label }) => alternative({ ...request, class_label });

/** @param {number} count @param {string} noun @returns {string} */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** @param {any} request @returns {number} The steps that are taken; from a picture, not all are. */
function walkedSteps({ steps, strength }) {
  return typeof strength === "number" ? Math.min(steps, Math.floor(steps * strength)) : steps;
}

/** @param {number} s @returns {string} */
export function seconds(s) {
  if (s < 1) return "less than a second";
  return s < 90 ? `about ${Math.round(s)} s` : `about ${Math.round(s / 60)} min`;
}

/**
 * What a run is doing, in a sentence or two.
 * @param {import("./run.js").Run} run
 * @returns {string}
 */
export function doing(run) {
  const { completed, total, queue_position: place, eta_s: eta } = run.progress;
  const steps = walkedSteps(run.job?.request ?? run.request);
  const left = eta === null || eta === undefined ? "" : `, ${seconds(eta)} left`;
  const wait = Math.max(0, Math.ceil((run.retryAt - performance.now()) / 1000));
  if (run.lost) return `Connection lost. Trying again${wait ? ` in ${wait} s` : ""}…`;
  switch (run.phase) {
    case "sending":
      return "Sending…";
    case "waiting":
      return `${sentence(run.reason)} Trying again in ${wait} s.`;
    case "queued":
      return `Waiting${place ? `, place ${place} in the queue` : " in the queue"}${left}.`;
    case "running":
      return total ? `Step ${Math.floor((completed / total) * steps)} of ${steps}${left}` : "Running…";
    case "succeeded":
      return "Done.";
    case "canceled":
      return "Canceled.";
    case "refused":
      return `The service refused it: ${run.reason}`;
    default:
      return `It failed: ${run.reason || "the service gives no reason"}`;
  }
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/[.\s]*$/, ".")}`;
