/**
 * Unexpected things that user code may throw, fail with, or return: values
 * that refuse to be read, or have no end.
 */
import * as Exit from "effect/Exit"
import type { Random } from "./Random.ts"

const refuse = (): never => {
  throw new Error("it can't be read")
}

const trapped: ProxyHandler<object> = {
  get: refuse,
  has: refuse,
  getPrototypeOf: refuse,
  ownKeys: refuse,
  getOwnPropertyDescriptor: refuse
}

const revoked = (target: object): object => {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

const withGetter = (target: object, key: PropertyKey): object =>
  Object.defineProperty(target, key, { get: refuse, enumerable: true })

const withField = (target: object, key: PropertyKey, value: unknown): object =>
  Object.defineProperty(target, key, { value, enumerable: true })

/** An error with a chain of causes. */
export const chain = (length: number): Error => {
  let error = new Error("the first")
  for (let i = 0; i < length; i++) error = new Error(`after ${i}`, { cause: error })
  return error
}

const cyclic = (): Error => {
  const error: Error & { cause?: unknown } = new Error("round")
  error.cause = error
  return error
}

/** An array within an array, and so on. */
export const nested = (levels: number): unknown => {
  let value: unknown = 1
  for (let i = 0; i < levels; i++) value = [value]
  return value
}

/** A text of 2^levels pieces when it is written out; a few objects in memory. */
export const doubled = (levels: number): unknown => {
  let value: unknown = "x"
  for (let i = 0; i < levels; i++) value = { left: value, right: value }
  return value
}

/** That many objects, each linked to all others: following every path never ends. */
export const friends = (count: number): object => {
  const all = Array.from({ length: count }, (): Record<string, unknown> => ({}))
  for (const one of all) all.forEach((other, index) => one[`friend${index}`] = other)
  return all[0]!
}

const escapes = "\u001b[2J\u001b]0;owned\u0007\r\nlevel=ERROR message=forged\u202e\u009b"

/** Values that can't be read, or have to be read with care, by what is wrong with them. */
export const failures: ReadonlyArray<readonly [what: string, failure: unknown]> = [
  ["a message getter that throws", withGetter(new Error("x"), "message")],
  ["a name getter that throws", withGetter(new Error("x"), "name")],
  ["a stack getter that throws", withGetter(new Error("x"), "stack")],
  ["a cause getter that throws", withGetter(new Error("x"), "cause")],
  ["a getter of its own that throws", withGetter(new Error("x"), "code")],
  ["a _tag getter that throws", withGetter({}, "_tag")],
  ["a _tag that is a symbol", withField(new Error("x"), "_tag", Symbol("tag"))],
  ["a _tag without a prototype", { _tag: Object.create(null) }],
  ["a message that is an object", withField(new Error("x"), "message", { a: 1 })],
  ["a message that is a symbol", withField(new Error("x"), "message", Symbol("message"))],
  ["a name that is a function", withField(new Error("x"), "name", () => "x")],
  ["a toString that throws", { toString: refuse }],
  ["a toJSON that throws", { toJSON: refuse }],
  ["a proxy that answers nothing", new Proxy({}, trapped)],
  ["an error behind such a proxy", new Proxy(new Error("x"), trapped)],
  ["a revoked proxy", revoked({})],
  ["a revoked array", revoked([])],
  ["a revoked function", revoked(() => undefined)],
  ["no prototype", Object.create(null)],
  ["a frozen error", Object.freeze(new Error("cold"))],
  ["a cause that is the error itself", cyclic()],
  ["100,000 causes", chain(100_000)],
  ["100,000 levels", nested(100_000)],
  ["a cause that can't be read", new Error("x", { cause: new Proxy({}, trapped) })],
  ["a long message", new Error("x".repeat(1_000_000))],
  ["a long name", withField(new Error("x"), "name", "x".repeat(1_000_000))],
  ["escape sequences", new Error(escapes)],
  ["escape sequences as its name", withField(new Error("x"), "name", escapes)],
  ["escape sequences as its stack", withField(new Error("x"), "stack", escapes)],
  ["a text of escape sequences", escapes],
  ["a big integer", 1n],
  ["a symbol", Symbol("s")],
  ["undefined", undefined],
  ["null", null],
  ["NaN", Number.NaN],
  ["a function", () => undefined],
  ["an empty text", ""]
]

/** Values whose text is endless, or as good as that, for code that prints everything they lead to. */
export const endless: ReadonlyArray<readonly [what: string, failure: unknown]> = [
  ["40 levels, each twice", doubled(40)],
  ["40 levels, each twice, in an array", [doubled(40)]],
  ["40 levels, each twice, as its cause", new Error("x", { cause: doubled(40) })],
  ["40 levels, each twice, behind a toJSON", { at: { toJSON: () => doubled(40) } }],
  ["40 levels, each twice, in a value of Effect's", Exit.fail(doubled(40))],
  ["40 levels, each twice, in a map of such a value", Exit.fail(new Map([[1, doubled(40)]]))],
  [
    "an endless iterable in a value of Effect's",
    Exit.fail({
      *[Symbol.iterator]() {
        for (;;) yield 1
      }
    })
  ],
  ["a million bytes", new Uint8Array(1_000_000)],
  ["a long array", { rows: Array.from({ length: 1_000_000 }, (_, row) => row) }],
  ["a long text in an object, often", { rows: Array(900).fill("x".repeat(10_000)) }]
]

const keys = ["message", "name", "stack", "cause", "_tag", "toString", "toJSON", "code", "reason", Symbol.iterator]

/** A failure with some of all that. */
export const failure = (random: Random, size: number, depth = 0): unknown => {
  if (random.chance(0.3)) return random.pick(failures)[1]
  const target: object = random.chance(0.6)
    ? new Error("x")
    : random.chance(0.7)
    ? {}
    : random.chance(0.5)
    ? []
    : () => undefined
  for (let fields = random.below(4); fields > 0; fields--) {
    const key = random.pick(keys)
    if (random.chance(0.3)) {
      Object.defineProperty(target, key, { get: refuse, enumerable: random.chance(0.5), configurable: true })
    } else {
      const value = depth < 3 && random.chance(0.5)
        ? failure(random, size, depth + 1)
        : random.pick([1n, Symbol("s"), escapes, "x".repeat(size), refuse, nested(size), null])
      Object.defineProperty(target, key, { value, enumerable: random.chance(0.5), configurable: true, writable: true })
    }
  }
  return random.chance(0.1) ? new Proxy(target, { [random.pick(["get", "has", "ownKeys"])]: refuse }) : target
}
