/**
 * The loggers of the command. They escape all text, so that a job can neither
 * control a terminal nor forge a line of the log. Only `pretty` writes records
 * of several lines, and it indents all but the first. A value that throws when
 * it is read loses its line and does not end the command.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Formatter from "effect/Formatter"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Result from "effect/Result"
import { loggable } from "../internal/loggable.ts"
import { safeJsonText, safeLine } from "../internal/text.ts"
import { callSafely } from "../internal/thrown.ts"

type Line = Logger.Options<unknown>

const colors: { readonly [Level in LogLevel.LogLevel]: string } = {
  All: "0",
  None: "0",
  Trace: "90",
  Debug: "34",
  Info: "32",
  Warn: "33",
  Error: "31",
  Fatal: "101;30"
}

const text = (value: unknown): string => typeof value === "string" ? value : Formatter.format(value)

/** Escapes a text of several lines and indents all but the first. */
const lines = (text: string, indent: string): string => text.split("\n").map(safeLine).join(`\n${indent}`)

const below = (text: string): string => `  ${lines(text, "  ")}`

const two = (value: number): string => String(value).padStart(2, "0")

const time = (date: Date): string =>
  `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${
    String(date.getMilliseconds()).padStart(3, "0")
  }`

const painted = (text: string, codes: string): string => `\u001b[${codes}m${text}\u001b[0m`
const plain = (text: string): string => text

const formatPretty = (paint: (text: string, codes: string) => string) => (line: Line): string => {
  const { cause, date, fiber, logLevel } = line
  const [first = "", ...more] = Arr.ensure(line.message).map(text)
  const spans = fiber.getRef(References.CurrentLogSpans).map(([label, since]) =>
    ` ${safeLine(label)}=${date.getTime() - since}ms`
  )
  const head = `${paint(`[${time(date)}]`, "37")} ${paint(logLevel.toUpperCase(), colors[logLevel])} (#${fiber.id})`
  const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations)).map(([key, value]) =>
    `  ${paint(`${safeLine(key)}:`, "1;37")} ${lines(text(value), "      ")}`
  )
  return [
    `${head}${spans.join("")}: ${paint(safeLine(first), "1;36")}`,
    ...(cause.reasons.length === 0 ? [] : [below(Cause.pretty(cause))]),
    ...more.map(below),
    ...annotations
  ].join("\n")
}

const formatLogfmt = (record: Line): string => safeLine(Logger.formatLogFmt.log(record))

const formatJson = (record: Line): string => safeJsonText(Logger.formatJson.log(record))

const unreadable = "a log line that can't be read"

const toStderr = (format: (record: Line) => string, instead: (level: string, message: string) => string) =>
  Logger.make<unknown, void>((record) => {
    const line = callSafely(() => format({ ...record, cause: loggable(record.cause) }))
    record.fiber.getRef(Console.Console).error(
      Result.getOrElse(line, () => instead(record.logLevel.toUpperCase(), unreadable))
    )
  })

const inWords = (level: string, message: string) => `level=${level} message="${message}"`

/** Several lines per record, for a terminal. */
export const pretty = (colored: boolean) => toStderr(formatPretty(colored ? painted : plain), inWords)

/** One line per record, `key=value`. */
export const logfmt = toStderr(formatLogfmt, inWords)

/** One JSON object per record. */
export const json = toStderr(formatJson, (level, message) => JSON.stringify({ level, message }))
