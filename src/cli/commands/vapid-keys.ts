/** `backq vapid-keys`: makes a pair of keys for Web Push. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { VapidKey } from "../../push/webpush/index.ts"
import * as Flags from "../flags/flags.ts"
import { print, printJson } from "../output.ts"

/** `backq vapid-keys`. */
export const vapidKeys = Command.make("vapid-keys", { json: Flags.json }, ({ json }) =>
  Effect.gen(function*() {
    const { privateKey, publicKey } = yield* VapidKey.generate
    const secret = Redacted.value(privateKey)
    yield* json
      ? printJson({ publicKey, privateKey: secret })
      : print(`public key   ${publicKey}`, `private key  ${secret}`)
  })).pipe(
    Command.withDescription(
      "Make a pair of VAPID keys for Web Push. The page subscribes with the public key; keep the private key secret. " +
        "A file with the output of --json is a key for --key"
    ),
    Command.withShortDescription("Make a pair of keys for Web Push"),
    Command.withExamples([
      {
        command: "backq vapid-keys --json > vapid.json",
        description: "Into a file: let only its owner read it"
      }
    ])
  )
