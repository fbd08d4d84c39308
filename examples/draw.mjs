// Draws one picture and saves it: node examples/draw.mjs [URL] [FILE]. Needs Node 18 or newer.
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.argv[2] ?? process.env.UNFOG_URL ?? "http://127.0.0.1:8000";
const file = process.argv[3] ?? "art.png";

async function call(path, options) {
  const answer = await fetch(new URL(path, url), options);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer;
}

let job = await (
  await call("/v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sampler: "ddim", steps: 50, seed: 7, scale: 8 }),
  })
).json();
while (job.status === "queued" || job.status === "running") {
  await sleep(500);
  job = await (await call(job.urls.self)).json();
}
if (job.status !== "succeeded") throw new Error(`the job ${job.status}: ${job.error?.detail}`);
const picture = await call(job.images[0].url);
await writeFile(file, Buffer.from(await picture.arrayBuffer()));
console.log(file);
