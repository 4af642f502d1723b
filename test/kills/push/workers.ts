/** The workers of each kind of push job, with the service that they need. */
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { type Broker, type Handler, type Job, type Outcome, type Publisher, Worker } from "../../../src/index.ts"
import { Apns, ApnsJob, type ApnsPayload } from "../../../src/push/apns/index.ts"
import { Fcm, FcmJob, type FcmPayload, Target } from "../../../src/push/fcm/index.ts"
import { WebPush, WebPushJob, type WebPushPayload } from "../../../src/push/webpush/index.ts"
import { WebPushSimulator } from "../../../src/testing/webpush/index.ts"

/** The options of each service, in JSON. The secrets are those of a simulator. */
export interface Options {
  readonly apns: {
    readonly key: string
    readonly keyId: string
    readonly teamId: string
    readonly topic: string
    readonly host: string
    readonly port: number
    readonly ca: string
  }
  readonly fcm: {
    readonly accounts: ReadonlyArray<string>
    readonly host: string
    readonly port: number
    readonly ca: string
  }
  readonly webpush: {
    readonly privateKey: string
    readonly allow: ReadonlyArray<string>
    readonly ca: string
  }
}

/** A push service. Its queue and its job have the same name. */
export type Kind = keyof Options

export const kinds: ReadonlyArray<Kind> = ["apns", "fcm", "webpush"]

/** The name of a subscription: the end of its endpoint. */
export const nameOf = (endpoint: string): string => endpoint.slice(endpoint.lastIndexOf("/") + 1)

/** The job with a schedule under which a campaign ends soon. */
const soon = <A>(job: Job.Job<A>): Job.Job<A> => ({ ...job, retry: Schedule.spaced("1 second") })

/** Called when a delivery begins, with the names of its targets. */
type Started = (id: string, targets: ReadonlyArray<string>) => void

/** Works until its broker stays away. */
type Work = (started: Started) => Stream.Stream<Outcome.Outcome, unknown, Broker.Broker | Publisher.Publisher>

const work = <P, S>({ handler, layer, targetsOf }: {
  readonly handler: Handler.Handler<S | Publisher.Publisher>
  readonly layer: Layer.Layer<S, unknown>
  readonly targetsOf: (payload: P) => ReadonlyArray<string>
}): Work =>
(started) => {
  const watched = Worker.handler(handler.job, (payload: P, delivery) => {
    started(delivery.id, targetsOf(payload))
    return handler.run(payload, delivery)
  })
  return Stream.provide(Worker.stream({ concurrency: 64, prefetch: 64 }, watched), layer)
}

const apns = ({ ca, host, key, keyId, port, teamId, topic }: Options["apns"]): Work =>
  work({
    handler: ApnsJob.handler({ job: soon(ApnsJob.job) }),
    layer: Apns.layer({
      credential: { key: Redacted.make(key), keyId, teamId, topic, ca: Redacted.make(ca) },
      environment: "sandbox",
      host,
      port
    }),
    targetsOf: ({ tokens }: ApnsPayload.ApnsPayload) => tokens
  })

const fcm = ({ accounts, ca, host, port }: Options["fcm"]): Work => {
  const [first, ...others] = accounts.map((account) => ({ serviceAccount: Redacted.make(account) }))
  return work({
    handler: FcmJob.handler({ job: soon(FcmJob.job) }),
    layer: Fcm.layer({ credential: [first!, ...others], host, port, ca }),
    targetsOf: ({ targets }: FcmPayload.FcmPayload) => targets.map((target) => Target.fieldOf(target).value)
  })
}

const webpush = ({ allow, ca, privateKey }: Options["webpush"]): Work =>
  work({
    handler: WebPushJob.handler({ job: soon(WebPushJob.job) }),
    layer: Layer.provide(
      WebPush.layer({ keys: { privateKey: Redacted.make(privateKey) }, subject: "mailto:ops@example.com", allow, ca }),
      WebPushSimulator.layerLoopback
    ),
    targetsOf: ({ subscriptions }: WebPushPayload.WebPushPayload) =>
      subscriptions.map(({ endpoint }) => nameOf(endpoint))
  })

/** The worker of a kind. */
export const make: { readonly [K in Kind]: (options: Options[K]) => Work } = { apns, fcm, webpush }
