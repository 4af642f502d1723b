/**
 * Reads what user code throws or fails with, safely.
 *
 * User code can throw anything: an error whose `message` is a getter that throws,
 * a proxy that refuses every access, an object that has no text. No function of
 * this module throws, and every text is bounded.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { clip, maxNameChars, maxReasonChars, safeName } from "./text.ts"

/** Calls user code. What it throws becomes a failure. */
export const callSafely = <A>(call: () => A): Result.Result<A, unknown> => Result.try({ try: call, catch: (e) => e })

/** Like {@link callSafely}, for the path of every job: a call that succeeds allocates nothing. `otherwise` must not throw. */
export const callOr = <A, B>(call: () => A, otherwise: (thrown: unknown) => B): A | B => {
  try {
    return call()
  } catch (thrown) {
    return otherwise(thrown)
  }
}

/**
 * The Effect that user code returns. A defect if it returns anything else, which
 * would end the fiber without running its error handlers.
 */
export const effectOf = <A, E, R>(what: string, call: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const effect = call()
    return Effect.isEffect(effect) ? effect : Effect.die(new Error(`${what} must return an Effect, and did not`))
  })

/** A failure described as text. */
export interface Description {
  /** Its `_tag`, or the name of its class; `undefined` when it has none. */
  readonly name: string | undefined
  /** Its message, or the failure itself if it is a string; `undefined` when it has none. */
  readonly message: string | undefined
  /** Name and message, or the kind of value. Never empty. */
  readonly text: string
}

const unreadable: Description = {
  name: undefined,
  message: undefined,
  text: "failed with an error that can't be read"
}

const nameOf = (failure: unknown): string | undefined => {
  const name = Predicate.hasProperty(failure, "_tag")
    ? String(failure._tag)
    : failure instanceof Error
    ? String(failure.name)
    : undefined
  return name === undefined ? undefined : clip(name, maxNameChars)
}

const messageOf = (failure: unknown): string | undefined => {
  const message = failure instanceof Error ? failure.message : failure
  return typeof message === "string" && message !== "" ? clip(message, maxReasonChars) : undefined
}

// a Schema wraps what its encoder or decoder threw as the Cause of its own error
const unwrap = (failure: unknown): unknown =>
  failure instanceof Error && Cause.isCause(failure.cause) ? Cause.squash(failure.cause) : failure

const read = (thrown: unknown): Description => {
  const failure = unwrap(thrown)
  const name = nameOf(failure)
  const message = messageOf(failure)
  const kind = failure === null ? "null" : typeof failure
  return {
    name,
    message,
    text: name === undefined || message === undefined
      ? message ?? name ?? `failed with ${kind}`
      : `${name}: ${message}`
  }
}

/** Describes a failure. */
export const describe = (failure: unknown): Description =>
  Result.getOrElse(callSafely(() => read(failure)), () => unreadable)

/** The message of an error, or else its description. */
export const messageOfThrown = (thrown: unknown): string => {
  const { message, text } = describe(thrown)
  return message ?? text
}

/** Any value, to quote in a message. */
export const shown = (value: unknown): string =>
  Result.getOrElse(callSafely(() => safeName(String(value))), () => typeof value)

/** A string, also when the program forced another type. */
export const textOf = (value: string): string => typeof value === "string" ? value : shown(value)

/** The value if it can be the cause of one of our errors, otherwise an error that describes it. */
export const asCause = (thrown: unknown): unknown =>
  Result.isSuccess(callSafely(() => Array.isArray(thrown) || Predicate.hasProperty(thrown, "cause")))
    ? thrown
    : new Error(describe(thrown).text)
