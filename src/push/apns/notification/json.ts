/**
 * Is a payload JSON that a device can read? Whatever a program put into it: the
 * answer is a fault with its place, never an exception, and takes time and
 * memory that are bounded.
 *
 * What JSON has no word for is refused (a big integer, a date, `undefined`), and
 * so is what would answer for itself (`toJSON`), what holds itself, and what is
 * nested deeper than the parser of Apple's Foundation goes. Pure.
 */
import { isRawNumber } from "../../../internal/exactNumbers.ts"
import { callSafely, describe } from "../../../internal/thrown.ts"

/** What is wrong, and where: keys and indices from the value on. */
export interface Fault {
  readonly path: ReadonlyArray<string | number>
  readonly rule: string
  /** How many steps of the path say something. */
  readonly steps: number
}

/** `JSONSerialization` gives up at 512. */
export const maxLevels = 500

/** A payload of 5120 bytes has no more than half as many; what is shared is counted wherever it stands. */
const maxValues = 100_000

const fault = (rule: string, steps = 8): Fault => ({ path: [], rule, steps })

const within = (key: string | number, { path, ...rest }: Fault): Fault => ({ path: [key, ...path], ...rest })

const leafFault = (value: unknown): string | undefined => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : "JSON has no number for it: leave it away"
    case "bigint":
      return "JSON has no big integers: write it as a text"
    case "undefined":
      return "it has no value: leave the key away"
    default:
      return `JSON has no ${typeof value}: leave it away`
  }
}

/** Is it an object of fields, and of no class? */
export const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  // that of another realm has no prototype either
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

const hasToJson = (value: object): boolean => "toJSON" in value && typeof value.toJSON === "function"

const objectFault = (value: object): string | undefined => {
  if (hasToJson(value) || !(Array.isArray(value) || isPlain(value))) {
    return "it is neither a plain object nor a list: write it as a text, or as an object of its fields"
  }
  return isRawNumber(value) && !Number.isFinite(Number(value.rawJSON))
    ? "no device has a number so large: write it as a text"
    : undefined
}

const search = (value: unknown, level: number, seen: { values: number }): Fault | undefined => {
  if (++seen.values > maxValues) return fault(`it has more than ${maxValues} values: send less`, 2)
  if (value === null) return undefined
  if (typeof value !== "object") {
    const rule = leafFault(value)
    return rule === undefined ? undefined : fault(rule)
  }
  const rule = objectFault(value)
  if (rule !== undefined) return fault(rule)
  if (level > maxLevels) return fault(`it is nested deeper than ${maxLevels} levels, or holds itself: make it flat`, 2)
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

/** What keeps a value from being sent as it is, if anything does. */
export const faultIn = (value: unknown): Fault | undefined => {
  const searched = callSafely(() => search(value, 1, { values: 0 }))
  return searched._tag === "Success"
    ? searched.success
    : fault(`it can't be read: a part of it throws ${describe(searched.failure).name ?? "something"}`)
}
