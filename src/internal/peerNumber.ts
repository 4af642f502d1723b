/**
 * Reads numbers that a peer sends, strictly and within limits. Pure.
 *
 * A number must have the form of its protocol: `0x10`, `1e3`, `-5`, `5, 6` and
 * `5 days` are not numbers. A well-formed number that is too large becomes the
 * maximum. Every function takes time linear in its input.
 */
import * as Duration from "effect/Duration"

/** The longest pause that a peer can ask for. */
export const maxRetryAfter = Duration.hours(1)

/** A number with more digits could be rounded, and is not read. */
const maxDigits = 15

/** A number of decimal digits only; `undefined` for anything else, and for a number of more than 15 digits. */
export const wholeNumber = (text: string): number | undefined =>
  text.length <= maxDigits && /^\d+$/.test(text) ? Number(text) : undefined

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
const month = `(?<month>${months.join("|")})`
const time = String.raw`(?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d)`

/** The three forms of RFC 9110, section 5.6.7: the current one and two obsolete ones. */
const dates = [
  new RegExp(String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d\d) ${month} (?<year>\d{4}) ${time} GMT$`),
  new RegExp(
    String.raw`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d\d)-${month}-(?<year>\d\d) ${time} GMT$`
  ),
  new RegExp(String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${month} (?<day>[ \d]\d) ${time} (?<year>\d{4})$`)
]

/** The length of the longest form, with a margin. */
const maxDateChars = 40

/** The year of two digits. It is at most 50 years ahead. */
const wholeYear = (year: number, now: number): number => {
  const thisYear = 1970 + Math.floor(now / 31_556_952_000)
  const inThisCentury = thisYear - (thisYear % 100) + year
  return inThisCentury > thisYear + 50 ? inThisCentury - 100 : inThisCentury
}

const daysOf = (year: number, month: number): number =>
  (Date.UTC(year, month + 1, 1) - Date.UTC(year, month, 1)) / 86_400_000

/** A date of HTTP, in milliseconds since 1970; `undefined` if it is malformed. */
export const httpDate = (text: string, now: number): number | undefined => {
  if (text.length > maxDateChars) return undefined
  for (const form of dates) {
    const groups = form.exec(text)?.groups
    if (groups === undefined) continue
    const at = (name: string) => Number(groups[name])
    const [day, hour, minute, second] = [at("day"), at("hour"), at("minute"), at("second")]
    const year = groups["year"]!.length === 2 ? wholeYear(at("year"), now) : at("year")
    const month = months.indexOf(groups["month"]!)
    if (day < 1 || day > daysOf(year, month) || hour > 23 || minute > 59 || second > 60) return undefined
    return Date.UTC(year, month, day, hour, minute, second)
  }
  return undefined
}

/** A header's value does not include the blanks around it: RFC 9110, section 5.5. */
const isBlank = (char: string | undefined): boolean => char === " " || char === "\t"

const withoutBlanks = (text: string): string => {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start])) start++
  while (end > start && isBlank(text[end - 1])) end--
  return text.slice(start, end)
}

/**
 * The pause that a Retry-After asks for, as seconds or as a date. From 0 to
 * {@link maxRetryAfter}; `undefined` if it is malformed. `now` is in milliseconds
 * since 1970. RFC 9110, section 10.2.3.
 */
export const retryAfter = (header: string, now: number): Duration.Duration | undefined => {
  const text = withoutBlanks(header)
  const date = /^\d+$/.test(text) ? now + Number(text) * 1000 : httpDate(text, now)
  return date === undefined
    ? undefined
    : Duration.millis(Math.min(Math.max(0, date - now), Duration.toMillis(maxRetryAfter)))
}

/** 2000-01-01. An earlier time of a peer is wrong: probably seconds instead of milliseconds. */
const earliestMillis = 946_684_800_000

/**
 * A time in the past, in integer milliseconds since 1970. A time later than `now`
 * becomes `now`, since the clocks differ, unless our clock is before 2000 and so
 * wrong. `undefined` for an invalid time.
 */
export const pastTime = (value: unknown, now: number): number | undefined => {
  if (typeof value !== "number" || !Number.isFinite(value) || value < earliestMillis) return undefined
  return Math.min(Math.floor(value), now < earliestMillis ? Infinity : now)
}
