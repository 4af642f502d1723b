/**
 * Confirmation before an action that can't be undone.
 *
 * The question goes to stderr, because stdout is for results. Without a
 * terminal a command can't ask, so it needs `--yes`.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { safeLine } from "../internal/text.ts"
import { UsageError } from "./exitCode.ts"
import { Output } from "./output.ts"

/** Above this number of jobs a command asks for confirmation. */
export const maxUnconfirmedJobs = 10

const question = (text: string) => Output.use(({ err }) => err(`backq: ${safeLine(text)} [y/N] `))

/** Asks for confirmation, and fails unless the answer is yes. */
export const confirm = Effect.fnUntraced(function*(
  what: string,
  yes: boolean
): Effect.fn.Return<void, UsageError, Stdio.Stdio> {
  if (yes) return
  const stdio = yield* Stdio.Stdio
  if (!(yield* stdio.stdinIsTerminal)) {
    return yield* new UsageError({
      detail: `nothing was done: without a terminal, --yes must be given to ${what}`
    })
  }
  yield* question(`${what}?`)
  const answer = yield* stdio.stdin.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.runHead,
    Effect.orElseSucceed(() => Option.none<string>())
  )
  const isYes = Option.exists(answer, (text) => /^\s*y(es)?\s*$/i.test(text))
  if (!isYes) return yield* new UsageError({ detail: "nothing was done" })
})
