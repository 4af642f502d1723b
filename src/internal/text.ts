/**
 * Text of others, made fit to be shown: bounded, on one line, and without
 * characters that do something to a terminal. Pure.
 *
 * Everything here takes time linear in what it is given, so that no text that
 * came with a job can hold up the process.
 */

/** How many characters of a reason are kept and shown. */
export const maxReasonChars = 2000

/** How many characters of a name, an id or a key of others are shown. */
export const maxNameChars = 200

// A slice keeps all of the text that it was cut from in memory.
const copied = (text: string): string => Buffer.from(text, "utf16le").toString("utf16le")

/** The first characters of a text, at most so many. Cuts no character in two, and lets go of the rest. */
export const cut = (text: string, maxChars: number): string => {
  if (text.length <= maxChars) return text
  const last = text.charCodeAt(maxChars - 1)
  return copied(text.slice(0, last >= 0xd800 && last < 0xdc00 ? maxChars - 1 : maxChars))
}

/** The same, and how many are left out. */
export const clip = (text: string, maxChars: number): string => {
  const first = cut(text, maxChars)
  return first.length === text.length ? text : `${first} … and ${text.length - first.length} more characters`
}

/** A text of several lines, such as a Schema's message, on one. Bounded. */
export const oneLine = (text: string, maxChars = maxReasonChars): string =>
  clip(text.split(/[\r\n]/).map((line) => line.trim()).filter((line) => line !== "").join(" "), maxChars)

// Control characters, those that hide or turn what follows, line ends, and halves of characters.
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

/** One line that does nothing to a terminal but show itself. Not bounded: see {@link clip}. */
export const safeLine = (text: string): string => text.replace(unsafe, escaped)

/** The same for a text of several lines. */
export const safeLines = (text: string): string => text.split("\n").map(safeLine).join("\n")

/** One line with blanks in the place of what does something to a terminal: for texts in which that is noise. Not bounded. */
export const blankLine = (text: string): string => text.replace(unsafe, " ")

/** JSON on one line. It reads as the same value, and does nothing to a terminal. */
export const safeJsonText = (json: string): string =>
  json.replace(unsafe, (char) => Array.from({ length: char.length }, (_, i) => hex4(char.charCodeAt(i))).join(""))

/** A value as JSON on one line. It reads as the same value, and does nothing to a terminal. */
export const safeJson = (value: unknown): string => safeJsonText(JSON.stringify(value))

const hex4 = (unit: number): string => `\\u${unit.toString(16).padStart(4, "0")}`

/** A name, an id or a key of others as it is quoted in a message: bounded and safe. */
export const safeName = (name: string): string => safeLine(clip(name, maxNameChars))
