/*
 * The frames of an animated PNG (W3C, PNG third edition, section 11.3.6), one by one: a browser that is given the file
 * plays it as fast as it says, and nothing here may flash three times a second.
 */

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);

/**
 * @param {Blob} blob Frames that are drawn over each other, as the service makes them.
 * @returns {Promise<string[]>} Each frame as a data URI.
 */
export async function framesOf(blob) {
  const { header, shared, frames } = await taken(blob);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [header.getUint32(0), header.getUint32(4)];
  const pen = canvas.getContext("2d");
  const pictures = [];
  for (const { width, height, x, y, data } of frames) {
    header.setUint32(0, width);
    header.setUint32(4, height);
    const pixels = data.map((body) => chunk("IDAT", body));
    const parts = [SIGNATURE, chunk("IHDR", new Uint8Array(header.buffer)), ...shared, ...pixels, chunk("IEND", [])];
    pen.drawImage(await createImageBitmap(new Blob(parts, { type: "image/png" })), x, y);
    pictures.push(canvas.toDataURL());
  }
  return pictures;
}

/** The file, taken apart: the header, what all frames share, and the frames as they lie in it. */
async function taken(blob) {
  const file = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(file.buffer);
  const [shared, frames] = [[], []];
  let header = new DataView(new ArrayBuffer(13));
  for (let at = 8; at < file.length; at += 12 + view.getUint32(at)) {
    const name = String.fromCharCode(...file.subarray(at + 4, at + 8));
    const body = file.slice(at + 8, at + 8 + view.getUint32(at));
    const number = (place) => view.getUint32(at + 8 + place);
    if (name === "IHDR") header = new DataView(body.buffer);
    else if (name === "PLTE" || name === "tRNS") shared.push(chunk(name, body));
    else if (name === "fcTL") frames.push({ width: number(4), height: number(8), x: number(12), y: number(16), data: [] });
    else if (name === "fdAT") frames.at(-1).data.push(body.subarray(4));
    else if (name === "IDAT") frames.at(-1)?.data.push(body); // before any frame, it is for those who know no frames
  }
  return { header, shared, frames };
}

function chunk(name, body) {
  const made = new Uint8Array(12 + body.length);
  const view = new DataView(made.buffer);
  view.setUint32(0, body.length);
  made.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  made.set(body, 8);
  view.setUint32(8 + body.length, crc(made.subarray(4, 8 + body.length)));
  return made;
}

/** CRC-32 as PNG has it. */
function crc(bytes) {
  let rest = -1;
  for (const byte of bytes) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit += 1) rest = (rest >>> 1) ^ (rest & 1 ? 0xedb88320 : 0);
  }
  return ~rest >>> 0;
}
