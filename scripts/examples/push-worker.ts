/**
 * One worker that pushes to Apple, to Google and to browsers. Copy it into your project.
 *
 *     BACKQ_APNS_KEY=AuthKey_ABC123DEFG.p8 BACKQ_APNS_TEAM_ID=DEF123GHIJ BACKQ_APNS_TOPIC=com.example.app \
 *     BACKQ_FCM_SERVICE_ACCOUNT=service-account.json \
 *     BACKQ_WEBPUSH_PRIVATE_KEY=vapid.json BACKQ_WEBPUSH_SUBJECT=mailto:ops@example.com \
 *       npx tsx scripts/examples/push-worker.ts
 *
 * To try it without them, start `npx tsx src/cli/bin.ts apns-simulator`, `fcm-simulator`
 * and `webpush-simulator`, and set SIMULATED=true.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
// in a project: from "backq", "backq/broker-url", "backq/main", "backq/apns", "backq/fcm" and "backq/webpush"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"
import { Apns, ApnsJob, DeadTokenJob as DeadApnsToken } from "../../src/push/apns/index.ts"
import { DeadTokenJob as DeadFcmToken, Fcm, FcmJob } from "../../src/push/fcm/index.ts"
import { AddressGuard, DeadSubscriptionJob, WebPush, WebPushJob } from "../../src/push/webpush/index.ts"

/** Messages to browsers go to public addresses only. A simulator has another one. */
const guard = Layer.unwrap(Effect.map(
  Config.withDefault(Config.Boolean("SIMULATED"), false),
  (isSimulated) =>
    AddressGuard.layer((address) => AddressGuard.isPublic(address) || (isSimulated && address === "127.0.0.1"))
))

const services = Layer.mergeAll(
  Apns.layerConfig(),
  Fcm.layerConfig(),
  WebPush.layerConfig().pipe(Layer.provide(guard)),
  Publisher.layer
).pipe(Layer.provideMerge(BrokerUrl.layerConfig()))

// Here the application deletes what is dead from its database. It may hear of a target more than once.
const forget = [
  Worker.handler(DeadApnsToken.job, ({ kind }) => Effect.log(`${kind.toLowerCase()} token of Apple`)),
  Worker.handler(DeadFcmToken.job, ({ kind }) => Effect.log(`${kind.toLowerCase()} token of Google`)),
  Worker.handler(DeadSubscriptionJob.job, ({ kind }) => Effect.log(`${kind.toLowerCase()} subscription`))
] as const

const worker = Worker.layer(
  { concurrency: 64, grace: "30 seconds" },
  ApnsJob.handler(),
  FcmJob.handler(),
  WebPushJob.handler(),
  ...forget
)

Layer.launch(worker).pipe(Effect.provide(services), Main.run)
