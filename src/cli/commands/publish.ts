/** `backq publish`: publishes jobs. */
import * as Command from "effect/cli/Command"
import { apns } from "./publish-apns.ts"
import { fcm } from "./publish-fcm.ts"
import { process } from "./publish-process.ts"
import { webpush } from "./publish-webpush.ts"

/** `backq publish`. */
export const publish = Command.make("publish").pipe(
  Command.withDescription("Publish a job"),
  Command.withSubcommands([process, apns, fcm, webpush])
)
