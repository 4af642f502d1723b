/** Prepares the targets of a publication: removes duplicates, and splits them into jobs. Pure. */
import type * as Arr from "effect/Array"

/** The targets without duplicates, in their order. Targets with the same key are one, and the first is kept. */
export const distinctTargets = <T>(targets: Iterable<T>, keyOf: (target: T) => string): Array<T> => {
  const byKey = new Map<string, T>()
  for (const target of targets) {
    const key = keyOf(target)
    if (!byKey.has(key)) byKey.set(key, target)
  }
  return [...byKey.values()]
}

/** The limits of one job. */
export interface JobLimits<in T> {
  readonly maxTargets: number
  /** Of all targets together. */
  readonly maxCharacters: number
  readonly charactersOf: (target: T) => number
}

/** The targets in parts that each fit into a job, in their order. A target that is too large is alone. */
export const splitTargets = <T>(
  targets: Iterable<T>,
  { charactersOf, maxCharacters, maxTargets }: JobLimits<T>
): Array<Arr.NonEmptyReadonlyArray<T>> => {
  const jobs: Array<Arr.NonEmptyArray<T>> = []
  let characters = 0
  for (const target of targets) {
    const last = jobs.at(-1)
    const own = charactersOf(target)
    characters += own
    if (last === undefined || last.length >= maxTargets || characters > maxCharacters) {
      jobs.push([target])
      characters = own
    } else last.push(target)
  }
  return jobs
}

/** A worker sends these tokens in a second, and the job fits into beanstalkd's default size. */
const tokenLimits: JobLimits<string> = {
  maxTargets: 500,
  maxCharacters: 40_000,
  charactersOf: (token) => token.length
}

/** Splits tokens into jobs. */
export const splitTokens = (tokens: Iterable<string>): Array<Arr.NonEmptyReadonlyArray<string>> =>
  splitTargets(tokens, tokenLimits)
