/*
 * A request as code that anybody can run: it submits, waits for the picture and saves it. Keys are read from the
 * environment and never stand in the code.
 */

/** @typedef {(url: string, request: Record<string, any>, keyed: boolean) => string} Snippet `url` is that of `v1/jobs`. */

/** @param {string} text @returns {string} In single quotes, for a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** @type {Snippet} */
export function curl(url, request, keyed) {
  const lines = [
    `curl --fail-with-body -o picture.png ${quoted(url)}`,
    "-H 'Content-Type: application/json'",
    "-H 'Accept: image/png'",
    "-H 'Prefer: wait=60'",
  ];
  if (keyed) lines.push('-H "Authorization: Bearer $UNFOG_API_KEY"');
  lines.push(`-d ${quoted(JSON.stringify(request))}`);
  return lines.join(" \\\n  ");
}

/** @type {Snippet} */
export function python(url, request, keyed) {
  const key = keyed ? '    "Authorization": "Bearer " + os.environ["UNFOG_API_KEY"],\n' : "";
  return `import json
${keyed ? "import os\n" : ""}from pathlib import Path
from urllib.request import Request, urlopen

request = json.loads(r"""${JSON.stringify(request, null, 2)}""")
headers = {
    "Content-Type": "application/json",
    "Accept": "image/png",
    "Prefer": "wait=60",
${key}}
call = Request(${JSON.stringify(url)}, json.dumps(request).encode(), headers)
with urlopen(call) as answer:
    body = answer.read()
if answer.headers.get_content_type() != "image/png":
    raise SystemExit("not done within a minute: " + body.decode())
Path("picture.png").write_bytes(body)
`;
}

/** @type {Snippet} */
export function javascript(url, request, keyed) {
  const key = keyed ? "\n    Authorization: `Bearer ${process.env.UNFOG_API_KEY}`," : "";
  return `import { writeFile } from "node:fs/promises";

const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    Accept: "image/png",
    Prefer: "wait=60",${key}
  },
  body: JSON.stringify(${JSON.stringify(request, null, 2).replaceAll("\n", "\n  ")}),
});
if (answer.status !== 200) throw new Error(await answer.text());
await writeFile("picture.png", Buffer.from(await answer.arrayBuffer()));
`;
}
