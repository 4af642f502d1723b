/**
 * A worker that pushes to Apple. Copy it into your project.
 *
 *     BACKQ_APNS_KEY=AuthKey_ABC123DEFG.p8 BACKQ_APNS_TEAM_ID=DEF123GHIJ BACKQ_APNS_TOPIC=com.example.app \
 *       npx tsx scripts/examples/apns-worker.ts
 *
 * To try it without Apple, start `npx tsx src/cli/bin.ts apns-simulator`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
// in a project: from "backq", "backq/broker-url", "backq/main" and "backq/apns"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"
import { Apns, ApnsJob, DeadTokenJob } from "../../src/push/apns/index.ts"

// Here the application deletes the token from its database. A token may arrive more than once.
const forget = Worker.handler(
  DeadTokenJob.job,
  ({ kind, reason, token }) => Effect.log(`${kind.toLowerCase()} token ${token.slice(0, 8)}...: ${reason}`)
)

Worker.run({ concurrency: 64, grace: "30 seconds" }, ApnsJob.handler(), forget).pipe(
  Effect.provide(Layer.merge(Apns.layerConfig(), Publisher.layer).pipe(Layer.provideMerge(BrokerUrl.layerConfig()))),
  Main.run
)
