/**
 * `backq push`: pushes one notification at once, without a queue, and prints
 * Apple's answers.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { Apns } from "../../push/apns/index.ts"
import { PushesFailed } from "../exitCode.ts"
import { apnsFlags, apnsLayer } from "../flags/apns.ts"
import * as Flags from "../flags/flags.ts"
import { notificationFlags, pushOf } from "../flags/notification.ts"
import { note, type OutputError, print, printJson, withDone } from "../output.ts"
import { interruptible, withLogging } from "../root.ts"

const toJson = ({ push: { token }, result }: Apns.PushResult) =>
  Result.isSuccess(result)
    ? { token, ...result.success }
    : { token, error: result.failure.reason._tag, action: result.failure.action, message: result.failure.message }

const line = ({ push: { token }, result }: Apns.PushResult): string =>
  Result.isSuccess(result) ? `${result.success.apnsId} ${token}` : `${token}: ${result.failure.message}`

/**
 * Prints a line for each push: on stdout if it was accepted, on stderr if it
 * failed. If stdout fails, all lines go to stderr, and the pushes go on.
 */
const reporter = (json: boolean) => {
  let lost: OutputError | undefined
  const report = (pushed: Apns.PushResult): Effect.Effect<void> => {
    if (lost !== undefined || !json && Result.isFailure(pushed.result)) return note(line(pushed))
    return Effect.catch(json ? printJson(toJson(pushed)) : print(line(pushed)), (error) => {
      lost = error
      return note(line(pushed))
    })
  }
  return { report, lost: () => lost }
}

/** `backq push`. */
export const push = Command.make(
  "push",
  { ...notificationFlags, ...apnsFlags, json: Flags.json },
  (flags) =>
    Effect.gen(function*() {
      const { notification, tokens } = yield* pushOf(flags)
      const total = new Set(tokens).size
      const { lost, report } = reporter(flags.json)
      const failures = yield* Stream.fromIterable(new Set(tokens)).pipe(
        Stream.map((token) => ({ notification, token })),
        Apns.sendAll,
        Stream.tap(report),
        Stream.filterMap(({ result }) => Result.flip(result)),
        Stream.runCollect,
        // the notification has the topic
        Effect.provide(apnsLayer({ ...flags, topic: undefined })),
        withLogging
      )
      const [first] = failures
      if (first !== undefined) return yield* new PushesFailed({ failed: failures.length, total, error: first })
      const error = lost()
      if (error !== undefined) return yield* withDone("the pushes were accepted: see above", Effect.fail(error))
    }).pipe(interruptible)
).pipe(
  Command.withDescription(
    "Push a notification at once, without a queue. Prints the id and the token of each push. " +
      "Exit codes: 0 accepted, 1 usage or a bad key or certificate, 2 Apple unreachable or not usable, 4 refused"
  ),
  Command.withShortDescription("Push a notification at once, without a queue"),
  Command.withExamples([
    {
      command: "backq push --key AuthKey_ABC123DEFG.p8 --team-id DEF123GHIJ --topic com.example.app " +
        "--body Hello --token 0a1b2c3d",
      description: "An alert"
    }
  ])
)
