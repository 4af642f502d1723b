/** A simulator of each push service, with targets of its own, jobs for them, and a bad day. */
import { assert } from "@effect/vitest"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { type Broker, type Job, Publisher, Worker } from "../../../src/index.ts"
import * as Apns from "../../../src/push/apns/index.ts"
import * as Fcm from "../../../src/push/fcm/index.ts"
import * as WebPush from "../../../src/push/webpush/index.ts"
import * as ApnsTesting from "../../../src/testing/apns/index.ts"
import * as FcmTesting from "../../../src/testing/fcm/index.ts"
import * as WebPushTesting from "../../../src/testing/webpush/index.ts"
import { token, topic } from "../../push/apns/servers.ts"
import { simulators } from "../../push/webpush/live.ts"
import { type Kind, nameOf, type Options } from "./workers.ts"

/** The work of a campaign. Targets are numbers from 0. */
export interface Plan {
  /** The targets of each job. */
  readonly jobs: ReadonlyArray<NonEmptyReadonlyArray<number>>
  readonly dead: ReadonlySet<number>
  /** How many targets there are. */
  readonly targets: number
  /** The seed of the simulator's script. */
  readonly seed: number
}

/** A push as a simulator saw it. */
export interface Seen {
  readonly target: string
  readonly status: number | undefined
}

/** A running push service. */
export interface Service {
  /** The names of the targets, by their numbers. */
  readonly names: ReadonlyArray<string>
  /** The options of its worker: see `workers.ts`. */
  readonly options: Options[Kind]
  /** Publishes the jobs of the plan. */
  readonly publish: Effect.Effect<void, never, Publisher.Publisher>
  /** The payload of a job that no worker can decode, as another language may publish it. */
  readonly poison: unknown
  /** Sends a GOAWAY on each connection. */
  readonly goaway: Effect.Effect<void>
  readonly counts: Effect.Effect<{ readonly accepted: number; readonly statuses: Readonly<Record<number, number>> }>
  readonly pushes: Effect.Effect<ReadonlyArray<Seen>>
  /** Takes the dead targets from the application's queue. */
  readonly reported: Effect.Effect<ReadonlyArray<string>, unknown, Broker.Broker>
}

/** Of the pushes that would be accepted, 1 % get a 429 and 1 % an error of the server. */
const share = 0.01
/** A 429 stops its project or origin for so long. */
const retryAfter = "1 second"
const delay = "5 millis"
/** No push is forgotten. */
const record = 1_000_000
/** At most this many pushes are disowned by a GOAWAY. */
const unprocessed = 5

/** So many projects of FCM, and push services for browsers, share the work. */
const projects = 8

const publishAll = <A>(job: Job.Job<A>, payloads: ReadonlyArray<A>): Service["publish"] =>
  Effect.forEach(
    Arr.chunksOf(payloads.map((payload, i) => ({ payload, id: `job-${i}` })), 500),
    (some) =>
      Effect.map(
        Publisher.publishAll(job, some.map(({ payload }) => payload), (_, i) => ({ id: some[i]!.id })),
        (results) => assert.isTrue(results.every(Result.isSuccess))
      ),
    { discard: true }
  )

const taken = <A>(job: Job.Job<A>, nameOf: (dead: A) => string): Service["reported"] =>
  Effect.suspend(() => {
    const names: Array<string> = []
    const handler = Worker.handler(job, (dead) => Effect.sync(() => void names.push(nameOf(dead))))
    return Effect.as(Worker.run({ idleTimeout: "100 millis" }, handler), names).pipe(
      Effect.provideService(References.MinimumLogLevel, "Warn")
    )
  })

const apns = Effect.fnUntraced(
  function*({ dead, jobs, seed, targets }: Plan): Effect.fn.Return<Service, unknown, Scope.Scope> {
    const { ApnsSimulator, Key, Script } = ApnsTesting
    const names = Array.from({ length: targets }, (_, i) => token(i))
    const key = yield* Key.makeKey()
    const since = 1_700_000_000_000
    const simulator = yield* ApnsSimulator.make({
      keys: [key],
      record,
      script: {
        seed,
        delay,
        dead: Object.fromEntries(Array.from(dead, (i) => [names[i]!, { since }])),
        rules: [
          { do: Script.refuse("TooManyRequests", { retryAfter }), share },
          { do: Script.refuse("InternalServerError", { retryAfter }), share }
        ]
      }
    })
    const notification = Apns.Notification.alert({ body: "Hello" })
    return {
      names,
      options: {
        key: Redacted.value(key.key),
        keyId: key.keyId,
        teamId: key.teamId,
        topic,
        host: "localhost",
        port: simulator.port,
        ca: simulator.ca
      },
      publish: publishAll(
        Apns.ApnsJob.job,
        jobs.map((targets) => ({ tokens: Arr.map(targets, (i) => names[i]!), notification }))
      ),
      poison: { tokens: [token(0, "eeee")], payload: { aps: {} } },
      goaway: simulator.goaway({ unprocessed }),
      counts: simulator.counts,
      pushes: simulator.pushes,
      reported: taken(Apns.DeadTokenJob.job, (dead) => {
        assert.deepInclude(dead, {
          topic,
          environment: "sandbox",
          kind: "Dead",
          reason: "Unregistered",
          timestamp: since
        })
        return dead.token
      })
    }
  }
)

const fcm = Effect.fnUntraced(
  function*({ dead, jobs, seed, targets }: Plan): Effect.fn.Return<Service, unknown, Scope.Scope> {
    const { Account, FcmSimulator, Script } = FcmTesting
    const names = Array.from({ length: targets }, (_, i) => `device${i}:APA91b`)
    const projectOf = (i: number) => `project-${i % projects}`
    const accounts = yield* Effect.forEach(Arr.range(0, projects - 1), (i) => Account.makeAccount(projectOf(i)))
    const simulator = yield* FcmSimulator.make({
      accounts,
      record,
      script: {
        seed,
        delay,
        dead: Array.from(dead, (i) => names[i]!),
        rules: [
          { do: Script.refuse(429, "QUOTA_EXCEEDED", { retryAfter }), share },
          { do: Script.refuse(503, "UNAVAILABLE", { retryAfter }), share }
        ]
      }
    })
    const { Target } = Fcm
    const message = { notification: { title: "Hello" } }
    return {
      names,
      options: {
        accounts: accounts.map((account) => Redacted.value(simulator.serviceAccount(account))),
        host: simulator.host,
        port: simulator.port,
        ca: simulator.ca
      },
      publish: publishAll(
        Fcm.FcmJob.job,
        jobs.map((targets, i) => ({
          targets: Arr.map(targets, (i) => Target.token(names[i]!)),
          project: projectOf(i),
          message
        }))
      ),
      poison: { tokens: ["a"], topic: "news", message },
      goaway: simulator.goaway({ unprocessed }),
      counts: simulator.counts,
      pushes: simulator.pushes,
      reported: taken(Fcm.DeadTokenJob.job, (dead) => {
        assert.deepInclude(dead, { kind: "Dead", errorCode: "UNREGISTERED" })
        return dead.token!
      })
    }
  }
)

/** The push services of the big browsers, each twice. */
const personalities = Arr.makeBy(projects, (i) => (["mozilla", "google", "apple", "wns"] as const)[i % 4]!)

const webpush = Effect.fnUntraced(
  function*({ dead, jobs, seed, targets }: Plan): Effect.fn.Return<Service, unknown, Scope.Scope> {
    const { Script } = WebPushTesting
    const services = yield* simulators(...personalities.map((personality) => ({
      personality,
      record,
      script: {
        seed,
        delay,
        rules: [
          { do: Script.refuse("Throttled", { retryAfter }), share },
          { do: Script.refuse("ServerError", { retryAfter }), share }
        ]
      }
    })))
    const { privateKey, publicKey } = yield* WebPush.VapidKey.generate
    const subscriptions = yield* Effect.forEach(Arr.makeBy(targets, (i) => i), (i) => {
      const service = services[i % services.length]!
      return Effect.tap(
        service.subscribe({ applicationServerKey: publicKey }),
        (subscription) => dead.has(i) ? service.unsubscribe(subscription) : Effect.void
      )
    })
    const all = <A>(f: (service: typeof services[number]) => Effect.Effect<A>) => Effect.forEach(services, f)
    const message = { body: { json: { title: "Hello" } }, ttl: 3600 }
    return {
      names: subscriptions.map(({ endpoint }) => nameOf(endpoint)),
      options: {
        privateKey: Redacted.value(privateKey),
        allow: services.map(({ allow }) => allow),
        ca: services[0]!.ca
      },
      publish: publishAll(
        WebPush.WebPushJob.job,
        jobs.map((targets) => ({ subscriptions: Arr.map(targets, (i) => subscriptions[i]!), message }))
      ),
      poison: { subscriptions: [], ...message },
      goaway: Effect.asVoid(all(({ goaway }) => goaway)),
      counts: Effect.map(all(({ counts }) => counts), (all) => {
        const statuses: Record<number, number> = {}
        for (const [status, count] of all.flatMap(({ statuses }) => Object.entries(statuses))) {
          statuses[Number(status)] = (statuses[Number(status)] ?? 0) + count
        }
        return { accepted: statuses[201] ?? 0, statuses }
      }),
      pushes: Effect.map(all(({ pushes }) => pushes), (all) => all.flat()),
      reported: taken(WebPush.DeadSubscriptionJob.job, (dead) => {
        assert.deepInclude(dead, { kind: "Dead", cause: "DeadSubscription", status: 410 })
        return nameOf(dead.endpoint)
      })
    }
  }
)

/** Starts the push service of a kind. */
export const make: Readonly<Record<Kind, (plan: Plan) => Effect.Effect<Service, unknown, Scope.Scope>>> = {
  apns,
  fcm,
  webpush
}
