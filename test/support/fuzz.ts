/**
 * Feeds hostile input to functions that read the text of others.
 *
 * A target is one entry: it makes inputs and feeds them. Of each input the
 * harness asks that it ends in success or in a typed error, in time, with a
 * message that is bounded and does nothing to a terminal; and of inputs that
 * grow, that time and memory grow with their size and no faster.
 *
 * Every file of test/fuzz but the tests is a target:
 *
 * ```ts
 * export const target = Fuzz.make({
 *   name: "tube names",
 *   about: "what a server may list as the names of its tubes",
 *   make: (random, size) => hostile.bytes(random, size),
 *   feed: (bytes) => parseList(bytes),          // void, a Result or an Effect
 *   grow: hostile.runs.map((run) => (size) => hostile.bytesOf(hostile.fill(run, size)))
 * })
 * ```
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { inspect } from "node:util"
import { Random } from "./Random.ts"

/** The seed of the tests. */
export const defaultSeed = "2026"

/** One input. */
export interface Case {
  readonly input: unknown
  /** Feeds it. Throws when a promise is broken. */
  readonly run: () => Promise<void>
}

/** An entry that takes the text of others. */
export interface Target {
  readonly name: string
  readonly about: string
  /** How many inputs the tests feed. */
  readonly rounds: number
  readonly prepare: (random: Random, size: number) => Case
  /** Inputs of any size, each of one shape. */
  readonly grow: ReadonlyArray<(size: number) => Case>
  /** The largest size that growth is measured at. */
  readonly largest: number
}

/** How a target is made. */
export interface Options<Input> {
  readonly name: string
  /** The function and its input, in one line. */
  readonly about: string
  /** An input of about this size, in characters, bytes or entries. */
  readonly make: (random: Random, size: number) => Input
  /**
   * Feeds an input. A failure of a Result or an Effect is a typed error, which
   * is fine; a thrown value, a defect, an interruption and a hang are not.
   * Throw to say that the answer is wrong.
   */
  readonly feed: (input: Input) => void | Result.Result<unknown, unknown> | Effect.Effect<unknown, unknown>
  /** Inputs that grow, one function for each shape that could cost more than it should. */
  readonly grow?: ReadonlyArray<(size: number) => Input> | undefined
  /** The largest size that growth is measured at. Default: 128 Ki. */
  readonly largest?: number | undefined
  /** How many inputs the tests feed. Default: 500. */
  readonly rounds?: number | undefined
  /** How long one input may take. Default: 5 s. */
  readonly patienceMillis?: number | undefined
}

const fail = (what: string): never => {
  throw new Error(what)
}

const maxMessageChars = 20_000
// every character that controls a terminal, except for the line ends of a message of several lines
const unsafe = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

/** A text that is kept or shown is bounded. */
export const checkBounded = (text: unknown): void => {
  if (typeof text !== "string") return fail(`not a text but ${inspect(text)}`)
  if (text.length > maxMessageChars) fail(`a message of ${text.length} characters: ${text.slice(0, 200)}`)
}

/** A text for people is bounded and never controls a terminal. */
export const checkWords = (text: string): void => {
  checkBounded(text)
  const found = unsafe.exec(text)
  if (found !== null) fail(`a message with ${JSON.stringify(found[0])} in it: ${JSON.stringify(text.slice(0, 500))}`)
}

/** The type of a failure, and whether its message may be shown. */
export const checkError = (error: unknown): void => {
  if (typeof error === "string") return checkWords(error)
  if (!(error instanceof Error) || !("_tag" in error)) return fail(`not a typed error: ${inspect(error)}`)
  checkWords(error.message)
}

const checkExit = (exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit)) return
  for (const reason of exit.cause.reasons) {
    if (!Cause.isFailReason(reason)) fail(Cause.pretty(exit.cause))
    else checkError(reason.error)
  }
}

const quiet = Logger.layer([])

/** A target of inputs of some type. */
export const make = <Input>(options: Options<Input>): Target => {
  const { about, feed, grow = [], largest = 1 << 17, make, name, patienceMillis = 5000, rounds = 500 } = options
  const caseOf = (input: Input): Case => ({
    input,
    run: async () => {
      const started = process.threadCpuUsage()
      const answer = feed(input)
      if (Result.isResult(answer)) {
        if (Result.isFailure(answer)) checkError(answer.failure)
      } else if (Effect.isEffect(answer)) {
        const exit = await Effect.runPromise(
          Effect.exit(answer).pipe(
            Effect.provide(quiet),
            Effect.timeoutOrElse({
              duration: patienceMillis,
              orElse: () => Effect.void
            })
          )
        )
        if (exit === undefined) return fail(`no end after ${patienceMillis} ms`)
        checkExit(exit)
      }
      const millis = process.threadCpuUsage(started).user / 1000
      if (millis > patienceMillis) fail(`took ${Math.round(millis)} ms`)
    }
  })
  return {
    name,
    about,
    rounds,
    largest,
    prepare: (random, size) => caseOf(make(random, size)),
    grow: grow.map((shape) => (size) => caseOf(shape(size)))
  }
}

const sizes = [0, 1, 10, 10, 100, 100, 100, 1000, 1000, 10_000]

/** An input as a person can read it: bytes as text. */
const readable = (input: unknown): unknown =>
  input instanceof Uint8Array
    ? Buffer.from(input).toString("latin1")
    : Array.isArray(input)
    ? input.map(readable)
    : typeof input === "object" && input !== null && Object.getPrototypeOf(input) === Object.prototype
    ? Object.fromEntries(Object.entries(input).map(([key, value]) => [key, readable(value)]))
    : input

const show = (input: unknown): string => inspect(readable(input), { depth: 8, maxStringLength: 2000 })

/** The name by which a target is soaked. */
export const soakName = ({ name }: Target): string => `fuzz/${name.replaceAll(" ", "-")}`

/** One input, by the seed and its number. The thrown error says how to repeat it. */
export const feedOne = async (target: Target, seed: string, index: number): Promise<void> => {
  const random = new Random(`${seed}/${target.name}/${index}`)
  const one = target.prepare(random, random.pick(sizes))
  try {
    await one.run()
  } catch (error) {
    const name = soakName(target)
    const again = `npm run soak -- ${name} --seed ${seed} --from ${index} --rounds 1`
    throw new Error(
      `${name}, seed ${seed}, case ${index} (again: ${again})\n${show(one.input)}\n${inspect(error)}`,
      { cause: error }
    )
  }
}

/** Feeds inputs one after the other, until all rounds are over or the time is. Returns how many there were. */
export const feedMany = async (
  target: Target,
  { from = 0, millis = Infinity, rounds = target.rounds, seed = defaultSeed }: {
    readonly seed?: string
    readonly from?: number
    readonly rounds?: number
    readonly millis?: number
  } = {}
): Promise<number> => {
  const end = performance.now() + millis
  let fed = 0
  for (; fed < rounds && performance.now() < end; fed++) await feedOne(target, seed, from + fed)
  return fed
}

/** Shorter times count as this one: they may be noise. */
const leastMillis = 0.3
/** Sizes grow by this factor. */
const step = 16
/** How much longer `step` times as much may take; quadratic code takes 256 times as long. */
const maxRatio = 60
/** What a process may take more, besides some bytes for each of the input. */
const memoryBase = 256 * 1024 * 1024
const memoryPerUnit = 256

/** The resolution of CPU time. */
const tickMillis = 4

/** The best of some runs. Long runs are measured in CPU time, so that other processes of the machine don't count. */
const time = async (one: Case, times: number): Promise<number> => {
  let best = Infinity
  for (let i = 0; i < times; i++) {
    const began = performance.now()
    const started = process.threadCpuUsage()
    await one.run()
    const { system, user } = process.threadCpuUsage(started)
    best = Math.min(best, performance.now() - began, (user + system) / 1000 + tickMillis)
  }
  return best
}

/** Throws when a shape costs more per unit, the more there are. Starts small, so that bad code is found before it takes minutes. */
export const checkGrowth = async (target: Target): Promise<void> => {
  for (const [index, shape] of target.grow.entries()) {
    let smaller = await time(shape(target.largest / step ** 2), 2)
    for (const size of [target.largest / step, target.largest]) {
      const one = shape(size)
      const what = `${target.name}, shape ${index}, ${show(one.input).slice(0, 80)}`
      const peak = process.resourceUsage().maxRSS
      let larger = await time(one, 1)
      const isSuspect = () => larger > maxRatio * Math.max(smaller, leastMillis)
      for (let again = 0; again < 3 && isSuspect(); again++) {
        smaller = Math.max(smaller, await time(shape(size / step), 2))
        larger = Math.min(larger, await time(one, 1))
      }
      if (isSuspect()) fail(`${what}: ${smaller.toFixed(1)} ms for ${size / step}, ${larger.toFixed(1)} ms for ${size}`)
      const grown = (process.resourceUsage().maxRSS - peak) * 1024
      if (grown > memoryBase + size * memoryPerUnit) fail(`${what}: ${grown} bytes of memory for ${size}`)
      smaller = larger
    }
  }
}

const folder = join(import.meta.dirname, "..", "fuzz")

/** All targets: the files of test/fuzz. */
export const targets = async (): Promise<ReadonlyArray<Target>> => {
  const files = readdirSync(folder).filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts")).sort()
  const modules = await Promise.all(files.map((file) => import(join(folder, file)) as Promise<{ target: Target }>))
  return modules.map(({ target }) => target).sort((a, b) => a.name < b.name ? -1 : 1)
}
