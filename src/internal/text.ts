/**
 * Makes text from outside safe to show: bounded, on one line, and without
 * characters that control a terminal. Pure.
 *
 * Every function takes time linear in its input, so that no text of a job can
 * block the process.
 */

/** A reason is kept and shown with at most this many characters. */
export const maxReasonChars = 2000

/** A name, an id or a key from outside is shown with at most this many characters. */
export const maxNameChars = 200

// A slice would keep the whole original text in memory.
const copied = (text: string): string => Buffer.from(text, "utf16le").toString("utf16le")

/** The first characters of a text, at most `maxChars`. It never splits a character, and frees the rest. */
export const cut = (text: string, maxChars: number): string => {
  if (text.length <= maxChars) return text
  const last = text.charCodeAt(maxChars - 1)
  return copied(text.slice(0, last >= 0xd800 && last < 0xdc00 ? maxChars - 1 : maxChars))
}

/** Like {@link cut}, and appends how many characters it left out. */
export const clip = (text: string, maxChars: number): string => {
  const first = cut(text, maxChars)
  return first.length === text.length ? text : `${first} … and ${text.length - first.length} more characters`
}

/** Joins the lines of a text, such as a Schema's message, into one. Bounded. */
export const oneLine = (text: string, maxChars = maxReasonChars): string =>
  clip(text.split(/[\r\n]/).map((line) => line.trim()).filter((line) => line !== "").join(" "), maxChars)

// Tokens, keys and endpoints have long runs of these characters; words and names have not.
const opaque = /[\w:+-]{40,}/g

/** Keeps only the first characters of what may be a secret, such as a token that a server repeats in its answer. */
export const withoutSecrets = (text: string): string => text.replace(opaque, (run) => `${run.slice(0, 8)}...`)

// Control characters, invisible and direction characters, line ends, and halves of characters.
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

const escaped = (char: string): string => {
  switch (char) {
    case "\n":
      return "\\n"
    case "\t":
      return "\\t"
    case "\r":
      return "\\r"
  }
  const code = char.codePointAt(0)!
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`
}

/** Escapes a text to one line that can't control a terminal. Not bounded: see {@link clip}. */
export const safeLine = (text: string): string => text.replace(unsafe, escaped)

/** Like {@link safeLine}, but keeps line ends. */
export const safeLines = (text: string): string => text.split("\n").map(safeLine).join("\n")

/** Like {@link safeLine}, but with blanks instead of escapes, for texts in which escapes are noise. */
export const blankLine = (text: string): string => text.replace(unsafe, " ")

/** Escapes JSON to one line that can't control a terminal. It parses as the same value. */
export const safeJsonText = (json: string): string =>
  json.replace(unsafe, (char) => Array.from({ length: char.length }, (_, i) => hex4(char.charCodeAt(i))).join(""))

/** A value as JSON: see {@link safeJsonText}. */
export const safeJson = (value: unknown): string => safeJsonText(JSON.stringify(value))

const hex4 = (unit: number): string => `\\u${unit.toString(16).padStart(4, "0")}`

/** A name, an id or a key from outside, to quote in a message: bounded and safe. */
export const safeName = (name: string): string => safeLine(clip(name, maxNameChars))
