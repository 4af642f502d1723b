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
import { UsageError } from "./exitCode.ts"

/** A command that works on more jobs than this asks. */
export const few = 10

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
  yield* Stream.run(Stream.make(`backq: ${what}? [y/N] `), stdio.stderr()).pipe(Effect.ignore)
  const answer = yield* stdio.stdin.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.runHead,
    Effect.orElseSucceed(() => Option.none<string>())
  )
  const isYes = Option.exists(answer, (text) => /^\s*y(es)?\s*$/i.test(text))
  if (!isYes) return yield* new UsageError({ detail: "nothing was done" })
})
