/**
 * The Huffman code of HPACK. RFC 7541, section 5.2 and appendix B.
 *
 * The code is canonical, so the lengths of its words define it. A table decodes four
 * bits per step. No code word is shorter than five bits, so a step yields at most one
 * byte.
 */

/** The lengths of the code words of the bytes 0 to 255 and of EOS, in base 36. */
const lengths = Uint8Array.from(
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
    "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
    "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
    "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq" +
    "u",
  (digit) => Number.parseInt(digit, 36)
)

const eos = 256

/** The code words, in their low bits. */
const words = new Uint32Array(lengths.length)

// A node of the code tree has two children: each the index of another node, or a symbol as -1 - symbol.
const children: Array<[number, number]> = [[0, 0]]

const plant = (word: number, length: number, symbol: number): void => {
  let node = 0
  for (let bit = length - 1; bit > 0; bit--) {
    const side = (word >>> bit) & 1
    if (children[node]![side] === 0) {
      children[node]![side] = children.length
      children.push([0, 0])
    }
    node = children[node]![side]!
  }
  children[node]![word & 1] = -1 - symbol
}

{
  let word = 0
  for (let length = 5; length <= 30; length++) {
    for (let symbol = 0; symbol <= eos; symbol++) {
      if (lengths[symbol] !== length) continue
      words[symbol] = word
      plant(word, length, symbol)
      word++
    }
    word = word * 2
  }
}

// A step holds the next node in its low byte, then a flag for a decoded byte, the byte, and a flag for an invalid code.
const decoded = 1 << 8
const dead = 1 << 17

const steps = new Int32Array(children.length * 16)
for (let start = 0; start < children.length; start++) {
  for (let nibble = 0; nibble < 16; nibble++) {
    let node = start
    let step = 0
    for (let bit = 3; bit >= 0; bit--) {
      const next = children[node]![(nibble >>> bit) & 1]!
      if (next === -1 - eos) {
        step = dead
        node = 0
        break
      }
      if (next < 0) step |= decoded | ((-1 - next) << 9)
      node = next < 0 ? 0 : next
    }
    steps[start * 16 + nibble] = step | node
  }
}

/** The nodes at which the bits may end: after at most seven bits of padding, the first bits of EOS, all ones. */
const mayEnd = new Uint8Array(children.length)
for (let node = 0, padding = 0; padding < 8; padding++, node = children[node]![1]) mayEnd[node] = 1

/**
 * Decodes `bytes` from `start` to `end` into `target`, which must have 8/5 of their
 * size. Returns the decoded size in bytes, or -1 if the code is invalid.
 */
export const decode = (bytes: Uint8Array, start: number, end: number, target: Uint8Array): number => {
  let node = 0
  let size = 0
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    let step = steps[node * 16 + (byte >>> 4)]!
    if (step & decoded) target[size++] = step >>> 9
    if (step & dead) return -1
    step = steps[(step & 255) * 16 + (byte & 15)]!
    if (step & decoded) target[size++] = step >>> 9
    if (step & dead) return -1
    node = step & 255
  }
  return mayEnd[node] === 1 ? size : -1
}

/** The size of the code of `bytes`, in bytes. */
export const encodedSize = (bytes: Uint8Array): number => {
  let bits = 0
  for (const byte of bytes) bits += lengths[byte]!
  return (bits + 7) >>> 3
}

/** Encodes `bytes` into `target` from `at` on. Returns where the code ends. */
export const encode = (bytes: Uint8Array, target: Uint8Array, at: number): number => {
  let pending = 0
  let count = 0
  const put = (word: number, length: number): void => {
    for (let bit = length - 1; bit >= 0; bit--) {
      pending = (pending << 1) | ((word >>> bit) & 1)
      if (++count === 8) {
        target[at++] = pending
        pending = count = 0
      }
    }
  }
  for (const byte of bytes) put(words[byte]!, lengths[byte]!)
  if (count > 0) put(255, 8 - count)
  return at
}
