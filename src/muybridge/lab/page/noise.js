/**
 * The numbers that `torch.randn` draws on a CPU, so that a seed gives the clip here that it gives there: the Mersenne
 * twister (Matsumoto & Nishimura 1998), 24 bits a number, and Box-Muller in groups of sixteen.
 */

const N = 624;
const M = 397;

/** 32-bit numbers of MT19937, seeded as PyTorch seeds it: by the lower 32 bits. */
function* twister(/** @type {number} */ seed) {
  const state = new Uint32Array(N);
  state[0] = Number(BigInt(seed) & 0xffffffffn);
  for (let i = 1; i < N; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  for (;;) {
    for (let i = 0; i < N; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
      state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    for (let y of state) {
      y ^= y >>> 11;
      y ^= (y << 7) & 0x9d2c5680;
      y ^= (y << 15) & 0xefc60000;
      yield (y ^ (y >>> 18)) >>> 0;
    }
  }
}

/**
 * `count` normal numbers of a seed.
 * @param {number} count a multiple of 16, as every latent's is (PyTorch draws other counts in another way)
 * @param {number} seed 0 to 2^53 - 1
 * @returns {Float32Array}
 */
export function normals(count, seed) {
  if (count % 16) throw new Error(`${count} is no multiple of 16`);
  const bits = twister(seed);
  const out = Float32Array.from({ length: count }, () => (bits.next().value & 0xffffff) / 2 ** 24);
  for (let start = 0; start < count; start += 16) {
    for (let i = start; i < start + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - out[i]));
      const angle = 2 * Math.PI * out[i + 8];
      out[i] = radius * Math.cos(angle);
      out[i + 8] = radius * Math.sin(angle);
    }
  }
  return out;
}

/**
 * Seeds of a clip's drafts, as muybridge/sampler/drafts.py draws them: the clip's own first, then what it leads to.
 * PyTorch takes 64 bits for a whole number below 2^31, of which the second 32 decide.
 * @param {number} seed
 * @param {number} count
 */
export function draftSeeds(seed, count) {
  const bits = twister(seed);
  const next = () => [bits.next(), bits.next()][1].value % 2 ** 31;
  return Array.from({ length: count }, (_, i) => (i ? next() : seed));
}
