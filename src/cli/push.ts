/**
 * `backq push`: pushes one notification now, without a queue, and prints what
 * Apple answers.
 */
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Apns from "../apns/Apns.ts"
import { apnsFlags, apnsLayer } from "./apnsFlags.ts"
import { PushesFailed } from "./exitCode.ts"
import * as Flags from "./flags.ts"
import { notificationFlags, pushOf } from "./notification.ts"
import { interruptible, withLogging } from "./root.ts"

const jsonOf = ({ push: { token }, result }: Apns.PushResult): string =>
  JSON.stringify(
    Result.isSuccess(result)
      ? { token, ...result.success }
      : { token, error: result.failure.reason._tag, action: result.failure.action, message: result.failure.message }
  )

/** A line for each push: an accepted one on stdout, a failed one on stderr. */
const report = (pushed: Apns.PushResult, json: boolean): Effect.Effect<void> => {
  if (json) return Console.log(jsonOf(pushed))
  const { push: { token }, result } = pushed
  return Result.isSuccess(result)
    ? Console.log(`${result.success.apnsId} ${token}`)
    : Console.error(`backq: ${token}: ${result.failure.message}`)
}

/** `backq push`. */
export const push = Command.make(
  "push",
  { ...notificationFlags, ...apnsFlags, json: Flags.json },
  (flags) =>
    Effect.gen(function*() {
      const { notification, tokens } = yield* pushOf(flags)
      const total = new Set(tokens).size
      const failures = yield* Stream.fromIterable(new Set(tokens)).pipe(
        Stream.map((token) => ({ notification, token })),
        Apns.sendAll,
        Stream.tap((pushed) => report(pushed, flags.json)),
        Stream.filterMap(({ result }) => Result.flip(result)),
        Stream.runCollect,
        Effect.provide(apnsLayer(flags)),
        withLogging
      )
      const [first] = failures
      if (first !== undefined) return yield* new PushesFailed({ failed: failures.length, total, error: first })
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Push a notification now, without a queue. Prints the id of each push and its token. " +
      "Exits with 0: accepted, 1: usage, a bad key or certificate, 2: Apple can't be reached, or can't be used so, 4: refused"
  ),
  Command.withShortDescription("Push a notification now, without a queue"),
  Command.withExamples([
    {
      command: "backq push --key AuthKey_ABC123DEFG.p8 --team-id DEF123GHIJ --topic com.example.app " +
        "--body Hello --token 0a1b2c3d",
      description: "An alert"
    }
  ])
)
