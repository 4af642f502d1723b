/**
 * Makes a cause safe for any logger or tracer.
 *
 * They print what a handler failed with, which can be any value: it may throw
 * when it is read, have endless causes, or have a message that moves the cursor
 * of a terminal or forges a line of the log. A harmless cause stays as it is. Any
 * other is copied: each name and message on one safe line, and only the frames of
 * stacks, all of it bounded.
 */
import * as Cause from "effect/Cause"
import * as Formatter from "effect/Formatter"
import * as Result from "effect/Result"
import { clip, maxNameChars, maxReasonChars, oneLine, safeLine } from "./text.ts"
import { callSafely, describe } from "./thrown.ts"

const maxReasons = 20
const maxDepth = 10
const maxFrames = 50
const maxFrameChars = 500
const maxStackChars = 20_000
const maxKeys = 100

const isSafe = (text: string, maxChars: number): boolean => text.length <= maxChars && safeLine(text) === text

const isFrame = (line: string): boolean => /^ {1,8}at /.test(line)

/**
 * Whether the printed text of a value is short. A printer repeats a part for each
 * path to it, so a few objects that refer to each other print without end. May
 * throw.
 */
const isShort = (root: unknown): boolean => {
  let left = maxReasonChars
  const ancestors: Array<object> = []
  const visit = (value: unknown): boolean => {
    left -= typeof value === "string" ? value.length + 1 : 1
    if (left < 0) return false
    if (typeof value !== "object" || value === null || ancestors.includes(value)) return true
    const { toJSON } = value as { readonly toJSON?: unknown }
    const isArray = Array.isArray(value)
    // other collections print content that is not in their keys
    if (isArray ? value.length > left : Symbol.iterator in value && toJSON === undefined) return false
    const keys = Object.keys(value)
    if (keys.length > left) return false
    ancestors.push(value)
    const isEachShort = keys.every((key) => {
      if (!isArray) left -= key.length
      return visit((value as Record<string, unknown>)[key])
    }) && (typeof toJSON !== "function" || visit(toJSON.call(value)))
    ancestors.pop()
    return isEachShort
  }
  return visit(root)
}

/** Whether printing an error is safe. Reads all that a printer reads. May throw. */
const isHarmless = (failure: unknown, depth = 0): boolean => {
  if (typeof failure === "string") return isSafe(failure, maxReasonChars)
  if (typeof failure === "function") return false
  if (typeof failure !== "object" || failure === null) return true
  if (depth === maxDepth) return false
  const { cause, message, name, stack } = failure as Record<string, unknown>
  if (typeof message !== "string" && !isShort(failure)) return false
  const keys = Object.keys(failure)
  if (keys.length > maxKeys) return false
  for (const key of keys) void (failure as Record<string, unknown>)[key]
  const text = typeof message === "string"
    ? message
    : Object.getPrototypeOf(failure) === Object.prototype || Array.isArray(failure)
    ? Formatter.formatJson(failure)
    : String(failure)
  return isSafe(text, maxReasonChars) &&
    (typeof name !== "string" || isSafe(name, maxNameChars)) &&
    (typeof stack !== "string" || (stack.length <= maxStackChars &&
      stack.split("\n").every((line, index) => index === 0 || (isFrame(line) && isSafe(line, maxFrameChars))))) &&
    (cause === undefined || isHarmless(cause, depth + 1))
}

const field = (failure: unknown, name: "stack" | "cause"): unknown =>
  typeof failure === "object" && failure !== null
    ? Result.getOrUndefined(callSafely(() => (failure as Record<string, unknown>)[name]))
    : undefined

const framesOf = (failure: unknown): ReadonlyArray<string> => {
  const stack = field(failure, "stack")
  return typeof stack !== "string"
    ? []
    : stack.slice(0, maxStackChars).split("\n").filter(isFrame).slice(0, maxFrames).map((frame) =>
      safeLine(clip(frame, maxFrameChars))
    )
}

/** A safe copy of a failure, as far as it is readable. Never throws. */
const copy = (failure: unknown, depth = 0): Error => {
  const { message, name, text } = describe(failure)
  const behind = field(failure, "cause")
  const error = new Error(
    safeLine(oneLine(message ?? text)),
    behind === undefined || behind === failure || depth === maxDepth ? undefined : { cause: copy(behind, depth + 1) }
  )
  error.name = name === undefined ? "Error" : safeLine(name)
  error.stack = [`${error.name}: ${error.message}`, ...framesOf(failure)].join("\n")
  return error
}

const copyReason = (reason: Cause.Reason<unknown>): Cause.Reason<unknown> =>
  Cause.isFailReason(reason)
    ? Cause.makeFailReason(copy(reason.error))
    : Cause.isDieReason(reason)
    ? Cause.makeDieReason(copy(reason.defect))
    : reason

const isHarmlessCause = (cause: Cause.Cause<unknown>): boolean =>
  cause.reasons.length <= maxReasons &&
  cause.reasons.every((reason) =>
    Cause.isFailReason(reason)
      ? isHarmless(reason.error)
      : Cause.isDieReason(reason)
      ? isHarmless(reason.defect)
      : true
  )

/** The cause itself if it is harmless, otherwise a safe copy. Never throws. */
export const loggable = (cause: Cause.Cause<unknown>): Cause.Cause<unknown> =>
  Result.getOrElse(callSafely(() => isHarmlessCause(cause)), () => false)
    ? cause
    : Result.getOrElse(
      callSafely(() => Cause.fromReasons(cause.reasons.slice(0, maxReasons).map(copyReason))),
      () => Cause.die(copy(cause))
    )
