/*
 * The static of a seed, as the service draws it: the Mersenne Twister of Matsumoto and Nishimura (1998), and the
 * Box-Muller transform on blocks of 16, as in PyTorch's CPU generator.
 */

const N = 624;
const M = 397;

/** @param {number} seed @returns {() => number} Draws of 32 bits. */
function twister(seed) {
  const state = new Uint32Array(N);
  state[0] = seed;
  for (let i = 1; i < N; i += 1) {
    const before = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(1812433253, before) + i;
  }
  let at = N;
  const turn = () => {
    for (let i = 0; i < N; i += 1) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
      state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    at = 0;
  };
  return () => {
    if (at === N) turn();
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/**
 * Standard normal numbers of a seed, as `torch.randn` on the CPU gives them to within the last bits.
 * @param {number} seed 0 to 2³²-1.
 * @param {number} count At least 16: PyTorch draws fewer another way.
 * @returns {Float32Array}
 */
export function startingNoise(seed, count) {
  const draw = twister(seed);
  const uniform = () => (draw() & 0xffffff) / 0x1000000;
  const out = Float32Array.from({ length: count }, uniform);
  const transform = (from) => {
    for (let j = from; j < from + 8; j += 1) {
      const radius = Math.sqrt(-2 * Math.log(1 - out[j]));
      const angle = 2 * Math.PI * out[j + 8];
      out[j] = radius * Math.cos(angle);
      out[j + 8] = radius * Math.sin(angle);
    }
  };
  for (let i = 0; i + 16 <= count; i += 16) transform(i);
  if (count % 16) {
    // What is left over is drawn anew with its neighbours before it.
    for (let i = count - 16; i < count; i += 1) out[i] = uniform();
    transform(count - 16);
  }
  return out;
}

/**
 * A sample as a picture: channel by channel in [-1, 1], clipped, to RGBA.
 * @param {Float32Array} x Three channels of width × height.
 * @param {number} width
 * @param {number} height
 * @returns {ImageData}
 */
export function toPixels(x, width, height) {
  const image = new ImageData(width, height);
  const area = width * height;
  for (let i = 0; i < area; i += 1) {
    for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = 127.5 * (x[c * area + i] + 1);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/**
 * A picture as a sample, the other way round.
 * @param {ImageData} image
 * @returns {Float32Array}
 */
export function toSample({ data, width, height }) {
  const area = width * height;
  const x = new Float32Array(3 * area);
  for (let i = 0; i < area; i += 1) {
    for (let c = 0; c < 3; c += 1) x[c * area + i] = data[4 * i + c] / 127.5 - 1;
  }
  return x;
}

/**
 * The static between two, along the arc (Shoemake 1985), as the service mixes seeds.
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} mix 0 is `a`, 1 is `b`.
 * @returns {Float32Array}
 */
export function slerp(a, b, mix) {
  const dot = (p, q) => p.reduce((sum, value, i) => sum + value * q[i], 0);
  const angle = Math.acos(Math.max(-1, Math.min(1, dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))));
  const round = Math.sin(angle) > 1e-6;
  const near = round ? Math.sin((1 - mix) * angle) / Math.sin(angle) : 1 - mix;
  const far = round ? Math.sin(mix * angle) / Math.sin(angle) : mix;
  return a.map((value, i) => near * value + far * b[i]);
}

/**
 * What a request starts from, where it starts from static.
 * @param {{seed: number, seed_to?: number, seed_mix?: number}} request
 * @param {number} count
 * @returns {Float32Array}
 */
export function startOf({ seed, seed_to, seed_mix = 0.5 }, count) {
  const own = startingNoise(seed, count);
  return seed_to === undefined ? own : slerp(own, startingNoise(seed_to, count), seed_mix);
}

/** @param {Float32Array} x @param {number} width @param {number} height @returns {string} A data URI of a PNG. */
export function toPng(x, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(toPixels(x, width, height), 0, 0);
  return canvas.toDataURL();
}
