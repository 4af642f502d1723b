/**
 * A web server whose page subscribes, and pushes to it.
 *
 *     BACKQ_WEBPUSH_PRIVATE_KEY=... BACKQ_WEBPUSH_SUBJECT=mailto:ops@example.com npx tsx scripts/examples/webpush/server.ts
 *
 * Open http://localhost:3000 in a browser. The page asks for permission, subscribes with the
 * key of this server, and sends its subscription here; the service worker shows the message.
 *
 * A real site stores the subscription with the user who is logged in, and publishes a job
 * instead of pushing in the request.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
// in a project: from "backq/webpush" and "backq/main"
import { Main } from "../../../src/main/index.ts"
import { Subscription, WebPush } from "../../../src/push/webpush/index.ts"

const file = (name: string, type: string) =>
  HttpServerResponse.text(readFileSync(new URL(name, import.meta.url), "utf8"), { contentType: type })

// The page gets the key that it must subscribe with.
const key = WebPush.WebPush.use(({ keys }) => HttpServerResponse.json(keys[0]))

const subscribe = HttpServerRequest.schemaBodyJson(Subscription.Subscription).pipe(
  Effect.flatMap((subscription) =>
    WebPush.send({ body: { json: { title: "Hello", body: "from backq" } }, ttl: 60 }, subscription)
  ),
  Effect.flatMap(({ status }) => HttpServerResponse.json({ status })),
  Effect.catchTags({
    SchemaError: ({ message }) => HttpServerResponse.json({ error: message }, { status: 400 }),
    WebPushError: ({ action, message }) => HttpServerResponse.json({ error: message, action }, { status: 502 })
  })
)

export const server = HttpRouter.serve(Layer.mergeAll(
  HttpRouter.add("GET", "/", file("page.html", "text/html")),
  HttpRouter.add("GET", "/page.js", file("page.js", "text/javascript")),
  HttpRouter.add("GET", "/worker.js", file("worker.js", "text/javascript")),
  HttpRouter.add("GET", "/key", key),
  HttpRouter.add("POST", "/subscriptions", subscribe)
)).pipe(
  Layer.provide(NodeHttpServer.layerConfig(createServer, { port: Config.Port("PORT").pipe(Config.withDefault(3000)) }))
)

if (import.meta.main) server.pipe(Layer.provide(WebPush.layerConfig()), Layer.launch, Main.run)
