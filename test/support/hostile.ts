/**
 * Input that an attacker, or a fault on the way, may send: texts, JSON and
 * bytes. Everything takes a {@link Random} and the approximate length.
 */
import type { Random } from "./Random.ts"

const utf8 = new TextEncoder()

export const bytesOf = (text: string): Uint8Array => utf8.encode(text)

/** Short texts that often cause faults. */
export const snippets: ReadonlyArray<string> = [
  // control characters, and sequences that a terminal obeys
  ["", " ", "\t", "\n", "\r\n", "\r", "\0", "\u001b[31m", "\u001b]0;title\u0007", "\u009b31m", "\u007f"],
  // invisible, reversing and half characters
  ["\u202e", "\u2066", "\u200b", "\u00ad", "\u2028", "\u2029", "\ufeff", "\ud800", "\udc00", "😀", "e\u0301", "日本"],
  ["__proto__", "constructor", "toString", "hasOwnProperty", "null", "undefined", "true", "NaN", "Infinity"],
  ["0", "-0", "-1", "1e400", "9007199254740993", "0x10", "1_000", " 7 ", "٣", "00", "1".repeat(400)],
  ["../..", "/", "//", "\\", "%00", "%ff", "%", "a@b", "@", "?", "#", ":", "::1", "[::1]", "&", "=", ";", ","],
  ["\"", "'", "`", "$&", "$(id)", "${x}", "{", "}", "[", "]", "<b>", "'; --", "*", "-", "--"]
].flat()

/** Pieces to repeat: they find code whose time per character grows with the length. */
export const runs: ReadonlyArray<string> = [
  [" ", "\t", "\n", "\r\n", "a", "a ", "\u001b[", "\ud800", "\u202e", "😀", "0", "9", ".", ":", "@", "/", "%"],
  ["\"", "\\", "=", "&", "a=b&", "[", "-", "$&"]
].flat()

/** A text, repeated up to a length. */
export const fill = (text: string, length: number): string =>
  text.repeat(Math.ceil(length / text.length)).slice(0, length)

/** A hostile text. */
export const text = (random: Random, size: number): string => {
  if (random.chance(0.1)) return fill(random.pick(runs), size)
  let text = ""
  while (text.length < size) {
    text += random.chance(0.5)
      ? random.pick(snippets)
      : random.chance(0.5)
      ? String.fromCharCode(random.below(128))
      : random.chance(0.9)
      ? "word"
      : String.fromCharCode(random.below(65536))
    if (random.chance(0.02)) break
  }
  return text
}

const numbers: ReadonlyArray<string> = [
  ["0", "-0", "1", "-1", "1.5", "1e400", "-1e400", "1e-400", "1234567890123456789", "9007199254740993", "4294967296"],
  ["8640000000000001", "1e21", "2147483648", "0.1", "5e-324"]
].flat()

const keys: ReadonlyArray<string> = [
  "__proto__",
  "constructor",
  "toString",
  "length",
  "_tag",
  "then",
  "toJSON",
  "",
  "a"
]

/** The text of a JSON value. Written by hand, for what `JSON.stringify` doesn't write: large numbers, keys that come twice. */
export const json = (random: Random, size: number, depth = 0): string => {
  const kind = random.below(depth > 4 || size < 2 ? 5 : 9)
  switch (kind) {
    case 0:
      return random.pick(["null", "true", "false", "{}", "[]"])
    case 1:
      return random.chance(0.1) ? "9".repeat(Math.max(1, size)) : random.pick(numbers)
    case 2:
    case 3:
    case 4:
      return JSON.stringify(text(random, Math.min(size, random.pick([0, 5, 40, size]))))
    case 5: {
      const levels = random.between(1, Math.max(1, Math.floor(size)))
      return random.chance(0.5)
        ? `${"[".repeat(levels)}${"]".repeat(levels)}`
        : `${"{\"a\":".repeat(levels)}1${"}".repeat(levels)}`
    }
    case 6: {
      const items = random.between(1, 6)
      return `[${Array.from({ length: items }, () => json(random, size / items, depth + 1)).join(",")}]`
    }
    default: {
      const fields = random.between(1, 6)
      return `{${
        Array.from({ length: fields }, () => {
          const key = random.chance(0.5) ? random.pick(keys) : text(random, 8)
          return `${JSON.stringify(key)}:${json(random, size / fields, depth + 1)}`
        }).join(",")
      }}`
    }
  }
}

/** The text of a JSON object: some of the fields as they are, some left out, some replaced, some added. */
export const jsonObject = (random: Random, size: number, fields: Readonly<Record<string, unknown>>): string => {
  const parts = Object.entries(fields).flatMap(([key, value]) =>
    random.chance(0.03)
      ? []
      : [`${JSON.stringify(key)}:${random.chance(0.12) ? json(random, size) : JSON.stringify(value) ?? "null"}`]
  )
  if (random.chance(0.2)) parts.push(`${JSON.stringify(random.pick(keys))}:${json(random, size)}`)
  if (random.chance(0.1) && parts.length > 0) parts.push(random.pick(parts))
  return `{${parts.join(",")}}`
}

/** Bytes that were valid, after one to four accidents: a flip, a cut, a piece twice, a piece of something else. */
export const mutate = (random: Random, bytes: Uint8Array): Uint8Array => {
  let mutated = Buffer.from(bytes)
  for (let i = random.between(1, 4); i > 0; i--) {
    const at = random.below(mutated.length + 1)
    const end = Math.min(mutated.length, at + random.pick([1, 1, 2, 8, 64]))
    switch (random.below(5)) {
      case 0:
        if (at < mutated.length) mutated[at]! ^= 1 << random.below(8)
        break
      case 1:
        mutated = mutated.subarray(0, at)
        break
      case 2:
        mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(end)])
        break
      case 3:
        mutated = Buffer.concat([mutated.subarray(0, end), mutated.subarray(at)])
        break
      default:
        mutated = Buffer.concat([
          mutated.subarray(0, at),
          random.chance(0.5) ? random.bytes(random.below(8)) : bytesOf(random.pick(snippets)),
          mutated.subarray(at)
        ])
    }
  }
  return mutated
}

/** Bytes of any kind: noise, a text that may be cut within a character, JSON. */
export const bytes = (random: Random, size: number): Uint8Array => {
  switch (random.below(3)) {
    case 0:
      return random.bytes(size)
    case 1: {
      const whole = bytesOf(text(random, size))
      return random.chance(0.5) ? whole : whole.subarray(0, random.below(whole.length + 1))
    }
    default:
      return bytesOf(json(random, size))
  }
}
