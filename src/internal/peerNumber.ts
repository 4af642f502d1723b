/**
 * Numbers that a peer says, read with measure. Pure.
 *
 * A number is taken only in the form that its protocol gives it: `0x10`, `1e3`,
 * `-5`, `5, 6` and `5 days` are none. What is well formed and larger than can be
 * meant becomes the most that is allowed. Everything here takes time linear in
 * what it is given.
 */
import * as Duration from "effect/Duration"

/** A peer that asks for a longer pause than this is asked again after this. */
export const maxRetryAfter = Duration.hours(1)

/** More digits than these are not turned into a number: it would lose its last ones. */
const maxDigits = 15

/** A number of decimal digits and nothing else; `undefined` where it is none, or one that a double can't hold. */
export const wholeNumber = (text: string): number | undefined =>
  text.length <= maxDigits && /^\d+$/.test(text) ? Number(text) : undefined

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
const month = `(?<month>${months.join("|")})`
const time = String.raw`(?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d)`

/** The three forms of RFC 9110, section 5.6.7: the one that is written today, and two that were. */
const dates = [
  new RegExp(String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d\d) ${month} (?<year>\d{4}) ${time} GMT$`),
  new RegExp(
    String.raw`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d\d)-${month}-(?<year>\d\d) ${time} GMT$`
  ),
  new RegExp(String.raw`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${month} (?<day>[ \d]\d) ${time} (?<year>\d{4})$`)
]

/** No form of a date is longer. */
const maxDateChars = 40

/** A year of two digits is at most 50 years ahead. */
const wholeYear = (year: number, now: number): number => {
  const thisYear = 1970 + Math.floor(now / 31_556_952_000)
  const inThisCentury = thisYear - (thisYear % 100) + year
  return inThisCentury > thisYear + 50 ? inThisCentury - 100 : inThisCentury
}

const daysOf = (year: number, month: number): number =>
  (Date.UTC(year, month + 1, 1) - Date.UTC(year, month, 1)) / 86_400_000

/** A date of HTTP, in milliseconds since 1970. */
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

/** Blanks around a header's value are no part of it: RFC 9110, section 5.5. */
const isBlank = (char: string | undefined): boolean => char === " " || char === "\t"

const withoutBlanks = (text: string): string => {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start])) start++
  while (end > start && isBlank(text[end - 1])) end--
  return text.slice(start, end)
}

/**
 * How long a Retry-After asks to wait: whole seconds, or until a date. At most
 * {@link maxRetryAfter}, at least nothing; `undefined` where it is neither.
 * `now` is in milliseconds since 1970. RFC 9110, section 10.2.3.
 */
export const retryAfter = (header: string, now: number): Duration.Duration | undefined => {
  const text = withoutBlanks(header)
  const date = /^\d+$/.test(text) ? now + Number(text) * 1000 : httpDate(text, now)
  return date === undefined
    ? undefined
    : Duration.millis(Math.min(Math.max(0, date - now), Duration.toMillis(maxRetryAfter)))
}

/** No time that a peer tells lies before this: the first of January 2000. Seconds that are taken for milliseconds do. */
const earliest = 946_684_800_000

/**
 * When something has happened, in whole milliseconds since 1970. What is told to
 * happen later than `now` has happened by now: the clocks differ. `undefined`
 * for what can't be meant. A clock of ours that says a year before 2000 is not
 * asked.
 */
export const pastTime = (value: unknown, now: number): number | undefined => {
  if (typeof value !== "number" || !Number.isFinite(value) || value < earliest) return undefined
  return Math.min(Math.floor(value), now < earliest ? Infinity : now)
}
