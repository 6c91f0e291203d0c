/**
 * Words <-> ids, and what to say of words the model has never seen: muybridge/conditioning/vocabulary.py, word for word.
 */

const LONGEST = 64;
const SIGN = /(\p{So})/u;
const BETWEEN = /(?:[^\p{L}\p{N}\p{So}-]|(?<![\p{L}\p{N}])-|-(?![\p{L}\p{N}]))+/u;
const UNKNOWN = 1;

export class Vocabulary {
  /** @param {any} json the file vocabulary.json, parsed */
  constructor(json) {
    /** @type {Map<string, number>} */
    this.ids = new Map(Object.entries(json.model.vocab));
    this.words = [...this.ids.keys()].filter((word) => !word.startsWith("["));
  }

  /** Ids of the words that are read, 64 at most. The empty prompt is one padding. */
  read(/** @type {string} */ prompt) {
    const ids = pieces(prompt).slice(0, LONGEST).map((word) => this.ids.get(word) ?? UNKNOWN);
    return ids.length ? ids : [0];
  }

  /** Words that are read but were never seen, each with the nearest that were. @returns {[string, string[]][]} */
  unknown(/** @type {string} */ prompt) {
    const strange = new Set(pieces(prompt).slice(0, LONGEST).filter((word) => !this.ids.has(word)));
    return [...strange].map((word) => [word, nearest(word, this.words)]);
  }

  /** How many words lie past the last one that is read. */
  beyond(/** @type {string} */ prompt) {
    return Math.max(0, pieces(prompt).length - LONGEST);
  }
}

/** The words of a prompt, in lower case and without accents; signs such as emoji are words of their own. */
function pieces(/** @type {string} */ prompt) {
  const plain = prompt.toWellFormed?.() ?? prompt;
  const heard = plain.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return heard.split(SIGN).flatMap((part) => part.split(BETWEEN)).filter(Boolean);
}

/** Up to three words that are like this one by at least 0.6 (Ratcliff & Obershelp 1988, as Python's difflib). */
function nearest(word, words) {
  return words
    .map((other) => ({ other, likeness: (2 * common(other, word)) / (other.length + word.length) }))
    .filter(({ likeness }) => likeness >= 0.6)
    .sort((a, b) => b.likeness - a.likeness || (a.other < b.other ? 1 : -1))
    .slice(0, 3)
    .map(({ other }) => other);
}

/** Letters in common: those of the longest common part, and of what lies on either side of it. */
function common(a, b) {
  let [length, inA, inB] = [0, 0, 0];
  let ends = new Map();
  for (let i = 0; i < a.length; i++) {
    const next = new Map();
    for (let j = 0; j < b.length; j++) {
      if (a[i] !== b[j]) continue;
      const here = (ends.get(j - 1) ?? 0) + 1;
      next.set(j, here);
      if (here > length) [length, inA, inB] = [here, i - here + 1, j - here + 1];
    }
    ends = next;
  }
  if (!length) return 0;
  const before = common(a.slice(0, inA), b.slice(0, inB));
  return length + before + common(a.slice(inA + length), b.slice(inB + length));
}
