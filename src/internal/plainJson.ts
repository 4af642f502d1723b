/**
 * Checks whether a value is JSON that any device can read. It returns a fault with its
 * place, never throws, and takes bounded time and memory, whatever the value is.
 *
 * It refuses values that JSON can't express (a big integer, a date, `undefined`),
 * objects with `toJSON`, cycles, and nesting deeper than the parser of Apple's
 * Foundation allows. Pure.
 */
import { isRawNumber } from "./exactNumbers.ts"
import { callSafely, describe } from "./thrown.ts"

/** A fault and its place: the keys and indices below the value. */
export interface Fault {
  readonly path: ReadonlyArray<string | number>
  readonly rule: string
  /** How many steps of the path are kept. */
  readonly steps: number
}

/** The maximum nesting. `JSONSerialization` fails at 512. */
export const maxLevels = 500

/** The maximum number of values; a payload of 5120 bytes has far fewer. A shared value counts at each place. */
const maxValues = 100_000

const fault = (rule: string, steps = 8): Fault => ({ path: [], rule, steps })

const within = (key: string | number, { path, ...rest }: Fault): Fault => ({ path: [key, ...path], ...rest })

const leafFault = (value: unknown): string | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : "must be a finite number: remove it"
    case "bigint":
      return "must not be a bigint: use a string"
    case "undefined":
      return "must not be undefined: remove the key"
    default:
      return `must not be a ${typeof value}: remove it`
  }
}

/** Whether it is a plain object, not an instance of a class. */
export const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  // The Object.prototype of another realm has no prototype either.
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

const hasToJson = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function"

const objectFault = (value: object): string | undefined => {
  if (hasToJson(value) || !(Array.isArray(value) || isPlain(value))) {
    return "must be a plain object or an array: use a string, or an object of its fields"
  }
  return isRawNumber(value) && !Number.isFinite(Number(value.rawJSON))
    ? "must be a number that a device can read: use a string"
    : undefined
}

const search = (value: unknown, level: number, seen: { values: number }): Fault | undefined => {
  if (++seen.values > maxValues) return fault(`must have at most ${maxValues} values: send less`, 2)
  if (value === null) return undefined
  if (typeof value !== "object") {
    const rule = leafFault(value)
    return rule === undefined ? undefined : fault(rule)
  }
  const rule = objectFault(value)
  if (rule !== undefined) return fault(rule)
  if (level > maxLevels) return fault(`must have at most ${maxLevels} levels and no cycle: flatten it`, 2)
  const isList = Array.isArray(value)
  const keys = isList ? undefined : Object.keys(value)
  const size = isList ? value.length : keys!.length
  for (let i = 0; i < size; i++) {
    const key = keys === undefined ? i : keys[i]!
    const found = search((value as Record<string | number, unknown>)[key], level + 1, seen)
    if (found !== undefined) return level > found.steps ? found : within(key, found)
  }
  return undefined
}

/** The first fault of a value, or `undefined`. */
export const faultIn = (value: unknown): Fault | undefined => {
  const searched = callSafely(() => search(value, 1, { values: 0 }))
  return searched._tag === "Success"
    ? searched.success
    : fault(`must be readable, but a part of it throws ${describe(searched.failure).name ?? "an exception"}`)
}
