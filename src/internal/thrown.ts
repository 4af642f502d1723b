/**
 * What user code throws or fails with, read with care.
 *
 * Anything can be thrown: an error whose `message` is a getter that throws, a
 * proxy that answers no question, an object that can't be turned into text.
 * Whoever has to say what happened asks here. No function of this module throws,
 * and every text is bounded.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { clip, maxNameChars, maxReasonChars, safeName } from "./text.ts"

/** Calls user code. Whatever it throws becomes a failure. */
export const callSafely = <A>(call: () => A): Result.Result<A, unknown> => Result.try({ try: call, catch: (e) => e })

/** The same where it is done for every job: nothing is made for a call that goes well. `otherwise` must not throw. */
export const callOr = <A, B>(call: () => A, otherwise: (thrown: unknown) => B): A | B => {
  try {
    return call()
  } catch (thrown) {
    return otherwise(thrown)
  }
}

/**
 * The Effect that user code returns. What is none would end the fiber at once,
 * past everything that catches failures.
 */
export const effectOf = <A, E, R>(what: string, call: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const effect = call()
    return Effect.isEffect(effect) ? effect : Effect.die(new Error(`${what} must return an Effect: it returned none`))
  })

/** What a failure says of itself, as text. */
export interface Description {
  /** Its `_tag`, or the name of its class; `undefined` when it has none. */
  readonly name: string | undefined
  /** Its message, or the text that it is; `undefined` when it has none. */
  readonly message: string | undefined
  /** Both, or what kind of value it is. Never empty. */
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

// a Schema throws what its encoder or decoder threw as a Cause within an error of its own
const behind = (failure: unknown): unknown =>
  failure instanceof Error && Cause.isCause(failure.cause) ? Cause.squash(failure.cause) : failure

const read = (thrown: unknown): Description => {
  const failure = behind(thrown)
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

/** What a failure says of itself. */
export const describe = (failure: unknown): Description =>
  Result.getOrElse(callSafely(() => read(failure)), () => unreadable)

/** The message of an error, or whatever else can be said of it. */
export const messageOfThrown = (thrown: unknown): string => {
  const { message, text } = describe(thrown)
  return message ?? text
}

/** Any value as it is quoted in a message. */
export const shown = (value: unknown): string =>
  Result.getOrElse(callSafely(() => safeName(String(value))), () => typeof value)

/** What ought to be a text, also where a type was forced. */
export const textOf = (value: string): string => typeof value === "string" ? value : shown(value)

/** The value itself where an error of ours can have it as its cause, and else an error that says what it was. */
export const asCause = (thrown: unknown): unknown =>
  Result.isSuccess(callSafely(() => Array.isArray(thrown) || Predicate.hasProperty(thrown, "cause")))
    ? thrown
    : new Error(describe(thrown).text)
