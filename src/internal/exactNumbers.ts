/**
 * JSON whose numbers stay as they were written.
 *
 * JavaScript keeps 53 bits of a number: `1234567890123456789` becomes
 * `1234567890123456800`, and `1e400` infinite, which is `null` in JSON. Here
 * such a number is read as a {@link RawNumber}, which `JSON.stringify` writes
 * with the digits that it had; all others are numbers as ever. A number counts
 * as kept when JavaScript writes it with the same digits (`1E3`, `1.50`), and
 * one that is no whole number also when its digits are those of the number that
 * JavaScript has for it, rounded to as many: `0.69999999999999996` is 0.7. A
 * whole number is never rounded, since it may be an id: `1152921504606846976`
 * is a power of two, and JavaScript would write `1152921504606847000`.
 *
 * A text without such numbers is read by plain `JSON.parse`. Pure.
 */

/** A number as it was written: what `JSON.rawJSON` makes. */
export type RawNumber = {
  readonly rawJSON: string
}

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown

/** Not yet in TypeScript's library: https://github.com/tc39/proposal-json-parse-with-source */
const json = JSON as unknown as {
  readonly parse: (text: string, reviver?: Reviver) => unknown
  readonly rawJSON: (text: string) => RawNumber
  readonly isRawJSON: (u: unknown) => u is RawNumber
}

/** Is it a number as it was written? */
export const isRawNumber = (u: unknown): u is RawNumber => json.isRawJSON(u) && /^-?\d/.test(u.rawJSON)

// 16 digits and more, an exponent, or a zero with a sign; within a string it costs time and does no harm
const suspicious = /[:,[ \t\r\n](?:-?\d[\d.]{15}|-?\d[\d.]*[eE]|-0(?:\.0*)?(?![\d.]))|^-?\d/

/** Digits without zeros at the ends, and the power of ten of the first. */
const decimal = (text: string): string => {
  const [, sign, whole, fraction = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)!
  const digits = `${whole}${fraction}`
  const first = digits.search(/[1-9]/)
  if (first < 0) return `${sign}0`
  let end = digits.length
  while (digits[end - 1] === "0") end--
  return `${sign}${digits.slice(first, end)}e${whole!.length - first + Number(exponent)}`
}

/** `toPrecision` takes no more. */
const maxDigits = 100

const isKept = (source: string, value: number): boolean => {
  if (!Number.isFinite(value)) return false
  const written = decimal(source)
  if (written === decimal(String(value))) return true
  if (Number.isInteger(value)) return false
  const digits = written.slice(written.startsWith("-") ? 1 : 0, written.indexOf("e")).length
  return digits > 15 && digits <= maxDigits && written === decimal(value.toPrecision(digits))
}

const keep: Reviver = (_, value, { source }) =>
  typeof value !== "number" || source === undefined || isKept(source, value) ? value : json.rawJSON(source)

/** May `JSON.parse` change a number of this text? */
export const mayChange = (text: string): boolean => suspicious.test(text)

/** Like `JSON.parse`, and throws like it; also a `RangeError` for what is nested by the thousand. */
export const parse = (text: string): unknown => mayChange(text) ? json.parse(text, keep) : json.parse(text)
