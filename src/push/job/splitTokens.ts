/** Splits the tokens of a publication into jobs. Pure. */
import type * as Arr from "effect/Array"

/** The limits of a job's tokens: a worker sends them in a second, and the job fits into beanstalkd's default size. */
const maxTokens = 500
const maxCharacters = 40_000

/** The tokens in parts that each fit into a job, in their order. */
export const splitTokens = (tokens: Iterable<string>): Array<Arr.NonEmptyReadonlyArray<string>> => {
  const jobs: Array<Arr.NonEmptyArray<string>> = []
  let characters = 0
  for (const token of tokens) {
    const last = jobs.at(-1)
    characters += token.length
    if (last === undefined || last.length >= maxTokens || characters > maxCharacters) {
      jobs.push([token])
      characters = token.length
    } else last.push(token)
  }
  return jobs
}
