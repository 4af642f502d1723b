/**
 * Asking before what can't be undone.
 *
 * The question goes to stderr, so that stdout stays for what was asked for.
 * Without a terminal nobody can answer: then `--yes` is needed.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { safeLine } from "../internal/text.ts"
import { UsageError } from "./exitCode.ts"
import { Output } from "./output.ts"

/** A command that works on more jobs than this asks. */
export const few = 10

const question = (text: string) => Output.use(({ err }) => err(`backq: ${safeLine(text)} [y/N] `))

/** Asks whether to go on, and fails unless the answer is yes. */
export const confirm = Effect.fnUntraced(function*(
  what: string,
  yes: boolean
): Effect.fn.Return<void, UsageError, Stdio.Stdio> {
  if (yes) return
  const stdio = yield* Stdio.Stdio
  if (!(yield* stdio.stdinIsTerminal)) {
    return yield* new UsageError({
      detail: `nothing was done: to ${what} needs a yes, which can't be asked for without a terminal; write --yes`
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
