/**
 * A web server that publishes jobs, and the worker for them, in one process.
 *
 *     PORT=3000 npx tsx scripts/examples/web-service.ts
 *     curl -d '{"userId":"42"}' localhost:3000/sign-ups
 *
 * SIGTERM or Ctrl-C first closes the server, then lets running handlers finish.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Config, Effect, Layer, Schedule, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
// in a project: from "backq", "backq/broker-url" and "backq/main"
import * as BrokerUrl from "../../src/brokers/url.ts"
import { Job, Publisher, Worker } from "../../src/index.ts"
import { Main } from "../../src/main/index.ts"

const SignUp = Schema.Struct({ userId: Schema.String })

const SendWelcome = Job.make("send-welcome", {
  payload: SignUp,
  retry: Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 5 }))
})

const worker = Worker.layer(
  { concurrency: 16 },
  Worker.handler(SendWelcome, ({ userId }, delivery) => Effect.log(`welcome, user ${userId} (${delivery.id})`))
)

// The request ends as soon as the job is safe in the queue: 202, accepted.
const signUp = HttpServerRequest.schemaBodyJson(SignUp).pipe(
  Effect.flatMap((payload) => Publisher.publish(SendWelcome, payload)),
  Effect.flatMap((id) => HttpServerResponse.json({ job: id }, { status: 202 })),
  Effect.catchTags({
    SchemaError: ({ message }) => HttpServerResponse.json({ error: message }, { status: 400 }),
    PublishError: (error) =>
      Effect.andThen(Effect.logError(error.message), HttpServerResponse.json({ error: "try again" }, { status: 503 }))
  })
)

const health = Publisher.ping.pipe(
  Effect.match({
    onSuccess: () => HttpServerResponse.text("ok"),
    onFailure: ({ message }) => HttpServerResponse.text(message, { status: 503 })
  })
)

const server = HttpRouter.serve(Layer.mergeAll(
  HttpRouter.add("POST", "/sign-ups", signUp),
  HttpRouter.add("GET", "/health", health)
)).pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, { port: Config.Port("PORT").pipe(Config.withDefault(3000)) }))
)

server.pipe(
  Layer.provide(Publisher.layer),
  Layer.provide(worker),
  Layer.provide(BrokerUrl.layerConfig()),
  Layer.launch,
  Main.run
)
