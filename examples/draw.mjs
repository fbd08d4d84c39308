// Draws one picture and saves it: node examples/draw.mjs [URL] [FILE]. Needs Node 20 or newer.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.argv[2] ?? process.env.UNFOG_URL ?? "http://127.0.0.1:8000";
const file = process.argv[3] ?? "art.png";
const key = process.env.UNFOG_API_KEY;

async function call(path, { headers, ...options } = {}) {
  const access = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(new URL(path, url), { ...options, headers: { ...access, ...headers } });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer;
}

// An EventSource takes no key, so the stream is read by hand: events end with an empty line.
async function* eventsOf(path) {
  let text = "";
  const answer = await call(path);
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const parts = (text + piece).split(/\r?\n\r?\n/);
    text = parts.pop();
    for (const part of parts) {
      const [, event] = part.match(/^event: ?(.*)$/m) ?? [];
      const [, data] = part.match(/^data: ?(.*)$/m) ?? [];
      if (data) yield { event, data: JSON.parse(data) };
    }
  }
}

// The key makes it safe to send this again if no answer comes: the same key is the same job.
const submitted = await call("/v1/jobs", {
  method: "POST",
  headers: { "Content-Type": "application/json", "Idempotency-Key": randomUUID() },
  body: JSON.stringify({ sampler: "ddim", steps: 50, seed: 7, scale: 8 }),
});
let job = await submitted.json();
while (job.status === "queued" || job.status === "running") {
  try {
    for await (const { event, data } of eventsOf(job.urls.events)) {
      if (event === "progress") console.error(`${data.status} ${Math.round(data.fraction * 100)}%`);
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    await sleep(1000); // the stream was cut; the next one begins with how the job is
  }
  job = await (await call(job.urls.self)).json();
}
if (job.status !== "succeeded") throw new Error(`the job ${job.status}: ${job.error?.detail}`);
const picture = await call(job.images[0].url);
await writeFile(file, Buffer.from(await picture.arrayBuffer()));
console.log(file);
