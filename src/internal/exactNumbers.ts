/**
 * Parses JSON without rounding numbers.
 *
 * JavaScript keeps 53 bits of a number: `1234567890123456789` becomes
 * `1234567890123456800`, and `1e400` becomes infinite, which is `null` in JSON.
 * This module reads such a number as a {@link RawNumber}, which `JSON.stringify`
 * writes with its original digits. It reads a number as a plain one if JavaScript
 * writes the same digits (`1E3`, `1.50`). A fraction may also be the rounded form
 * of JavaScript's number: `0.69999999999999996` is 0.7. An integer is never
 * rounded, since it may be an id: `1152921504606846976` is a power of two, and
 * JavaScript would write `1152921504606847000`.
 *
 * Plain `JSON.parse` reads a text without such numbers. Pure.
 */

/** The digits of a number, as `JSON.rawJSON` makes it. */
export type RawNumber = {
  readonly rawJSON: string
}

type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown

/** TypeScript's library does not have it yet: https://github.com/tc39/proposal-json-parse-with-source */
const json = JSON as unknown as {
  readonly parse: (text: string, reviver?: Reviver) => unknown
  readonly rawJSON: (text: string) => RawNumber
  readonly isRawJSON: (u: unknown) => u is RawNumber
}

/** Whether a value is a {@link RawNumber}. */
export const isRawNumber = (u: unknown): u is RawNumber => json.isRawJSON(u) && /^-?\d/.test(u.rawJSON)

// at least 16 digits, an exponent, or a signed zero; a match within a string only costs time
const suspicious = /[:,[ \t\r\n](?:-?\d[\d.]{15}|-?\d[\d.]*[eE]|-0(?:\.0*)?(?![\d.]))|^-?\d/

/** The digits without zeros at both ends, and the power of ten of the first digit. */
const decimal = (text: string): string => {
  const [, sign, whole, fraction = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)!
  const digits = `${whole}${fraction}`
  const first = digits.search(/[1-9]/)
  if (first < 0) return `${sign}0`
  let end = digits.length
  while (digits[end - 1] === "0") end--
  return `${sign}${digits.slice(first, end)}e${whole!.length - first + Number(exponent)}`
}

/** The limit of `toPrecision`. */
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

/** Whether `JSON.parse` may round a number of this text. */
export const mayChange = (text: string): boolean => suspicious.test(text)

/** Parses and throws like `JSON.parse`; also throws a `RangeError` for thousands of nested levels. */
export const parse = (text: string): unknown => mayChange(text) ? json.parse(text, keep) : json.parse(text)
