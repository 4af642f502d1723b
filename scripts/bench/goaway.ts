/**
 * The results of pushes when the server sends GOAWAY after each 1000 of them,
 * as nginx does: by backq and by @parse/node-apn, counted in nginx's log.
 *
 *     npm run bench -- goaway [--pushes 20000] [--window 900] [--requests 1000]
 *
 * It says how many pushes the client calls failed, how many nginx has not
 * answered, and how many it has answered more than once.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Apns from "../../src/push/apns/Apns.ts"
import * as Notification from "../../src/push/apns/notification/Notification.ts"
import * as Key from "../../src/testing/apns/Key.ts"
import { record } from "./record.ts"
import * as Server from "./server.ts"

const { values } = parseArgs({
  options: {
    pushes: { type: "string", default: "20000" },
    window: { type: "string", default: "900" },
    requests: { type: "string", default: "1000" }
  }
})
const pushes = Number(values.pushes)
const window = Number(values.window)

const folder = mkdtempSync(join(tmpdir(), "backq-bench-"))
const at = (name: string) => join(folder, name)
const openssl = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost " +
  "-addext subjectAltName=DNS:localhost -keyout key -out cert"
execFileSync("openssl", openssl.split(" "), { stdio: "ignore", cwd: folder })
const ca = readFileSync(at("cert"), "utf8")
const key = await Effect.runPromise(Key.makeKey())

const topic = "org.example.application"
const token = (i: number) => i.toString(16).padStart(64, "0")
const apnsId = (i: number) => `123e4567-e89b-12d3-a456-${String(i).padStart(12, "0")}`

const nginx = (port: number) => {
  writeFileSync(
    at("nginx.conf"),
    `daemon off; master_process off; pid nginx.pid; error_log error.log; events { worker_connections 256; }
    http {
      log_format push '$http_apns_id $status'; access_log access.log push;
      client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
      keepalive_requests ${values.requests}; http2_max_concurrent_streams 1000;
      server {
        listen 127.0.0.1:${port} ssl http2; ssl_certificate cert; ssl_certificate_key key;
        add_header apns-id $http_apns_id always;
        location / { return 200; }
      }
    }`
  )
  return ["-p", folder, "-c", at("nginx.conf"), "-e", at("error.log")]
}

/** Pushes everything; gives the number of pushes that failed. */
type Client = (port: number) => Promise<number>

const backq: Client = (port) =>
  Apns.sendAll(
    Stream.map(Stream.range(0, pushes - 1), (i) => ({ notification, token: token(i), apnsId: apnsId(i) })),
    { inFlight: window }
  ).pipe(
    Stream.runFold(() => 0, (failed, { result }) => failed + (Result.isSuccess(result) ? 0 : 1)),
    Effect.provide(Apns.layer({
      credential: { key: key.key, keyId: key.keyId, teamId: key.teamId, topic, ca: Redacted.make(ca) },
      host: "localhost",
      port
    })),
    Effect.runPromise
  )
const notification = Notification.alert({ body: "Hello" })

const nodeApn: Client = async (port) => {
  const apn: typeof import("@parse/node-apn") = createRequire(import.meta.url)("@parse/node-apn")
  const provider = new apn.Provider({
    token: { key: Redacted.value(key.key), keyId: key.keyId, teamId: key.teamId },
    address: "localhost",
    port,
    ca: [ca],
    production: true
  })
  const send = async (i: number) => {
    const note = new apn.Notification({ aps: { alert: { body: "Hello" } } })
    note.topic = topic
    note.pushType = "alert"
    note.id = apnsId(i)
    return (await provider.send(note, token(i))).failed.length
  }
  let failed = 0
  for (let sent = 0; sent < pushes; sent += window) {
    const batch = Array.from({ length: Math.min(window, pushes - sent) }, (_, i) => send(sent + i))
    for (const count of await Promise.all(batch)) failed += count
  }
  await provider.shutdown()
  return failed
}

console.log(`${pushes} pushes, ${window} at once; GOAWAY after each ${values.requests}\n`)
console.log("".padEnd(20) + ["failed", "not answered", "answered twice", "seconds"].map((t) => t.padStart(16)).join(""))
const share = (count: number) => `${(100 * count / pushes).toFixed(2)} %`
const rows: Array<[string, ...Array<string>]> = []
for (const [name, client] of Object.entries({ "@parse/node-apn": nodeApn, backq })) {
  rmSync(at("access.log"), { force: true })
  const server = await Server.start("nginx", nginx)
  const start = performance.now()
  const failed = await client(server.port)
  const seconds = (performance.now() - start) / 1000
  server.stop()
  const times = new Map<string, number>()
  for (const line of readFileSync(at("access.log"), "utf8").trimEnd().split("\n")) {
    const [id = "", status] = line.split(" ")
    if (status === "200") times.set(id, (times.get(id) ?? 0) + 1)
  }
  const twice = Array.from(times.values()).filter((count) => count > 1).length
  rows.push([name, share(failed), share(pushes - times.size), share(twice)])
  const figures = [failed, pushes - times.size, twice, seconds.toFixed(1)]
  console.log(name.padEnd(20) + figures.map((figure) => String(figure).padStart(16)).join(""))
}
record({
  title: `${pushes} pushes, ${window} at once, a GOAWAY after each ${values.requests}`,
  columns: ["called failed", "not answered", "answered twice"],
  rows
})
rmSync(folder, { recursive: true, force: true })
