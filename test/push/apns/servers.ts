/** Servers that answer as APNs does, built on programs that others wrote. Each ends with its scope. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Programs from "../../../scripts/test/servers.ts"
import * as Reason from "../../../src/push/apns/answer/Reason.ts"
import * as Apns from "../../../src/push/apns/Apns.ts"
import * as Key from "../../../src/testing/apns/Key.ts"
import { type IssueOptions, makeAuthority } from "../../../src/testing/push/Certificate.ts"
import { folder } from "../../support/folder.ts"
import * as Servers from "../../support/http2Servers.ts"
import { freePort, relay } from "../../support/network.ts"

// -----------------------------------------------------------------------------
// Pushes
// -----------------------------------------------------------------------------

/** The app of all pushes. */
export const topic = "com.example.app"

/** A server that can be pushed to. */
export interface Target {
  readonly port: number
  readonly certs: { readonly ca: string }
}

/** The client, with a key of a team, for a server. */
export const client = ({ certs, port }: Target, options: Partial<Apns.Options> = {}) =>
  Layer.unwrap(Effect.map(Key.makeKey(), ({ key, keyId, teamId }) =>
    Apns.layer({
      credential: { key, keyId, teamId, topic, ca: Redacted.make(certs.ca) },
      host: "localhost",
      port,
      ...options
    })))

/** Apple's answers that are not a success, each with the beginning of the device tokens that get it. */
export const refusals = Object.entries(Reason.table).map(([reason, { status }], i) => ({
  reason: reason as Reason.Reason,
  status,
  prefix: `${status}${String(i).padStart(2, "0")}`,
  body: JSON.stringify({ reason, ...(status === 410 ? { timestamp: 1_700_000_000_000 } : undefined) })
}))

/** The `i`-th device token, which may begin with a prefix. */
export const token = (i: number, prefix = "ffff"): string => prefix + i.toString(16).padStart(64 - prefix.length, "0")

/** The `i`-th push's id. */
export const apnsId = (i: number): string => `123e4567-e89b-12d3-a456-${String(i).padStart(12, "0")}`

// -----------------------------------------------------------------------------
// Servers
// -----------------------------------------------------------------------------

/** A push in a server's log. */
export interface Seen {
  readonly id: string
  readonly status: number
  readonly connection: string
  /** What it was signed with, where the server writes that down. */
  readonly authorization: string
}

const seenIn = (file: string) => (): ReadonlyArray<Seen> =>
  (existsSync(file) ? readFileSync(file, "utf8") : "").split("\n").filter((line) => /^[\da-f-]{36} /.test(line)).map(
    (line) => {
      const [id = "", status, connection = "", authorization = ""] = line.split(" ")
      return { id, status: Number(status), connection, authorization }
    }
  )

/** nginx. It ends each connection with a GOAWAY after a number of pushes. The start of a token selects its answer. */
export const nginx = Effect.fnUntraced(function*(requests: number, streams = 1000) {
  const certs = yield* Servers.certificates
  const port = yield* freePort
  const at = certs.path
  Servers.write(at("."), {
    "nginx.conf": [
      "daemon off; master_process off; pid nginx.pid; error_log error.log;",
      "events { worker_connections 256; }",
      "http {",
      "  map $http_authorization $jwt { ~^bearer\\s(?<token>.+)$ $token; }",
      "  log_format push '$http_apns_id $status $connection $jwt'; access_log access.log push;",
      "  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;",
      "  uwsgi_temp_path uwsgi; scgi_temp_path scgi;",
      `  keepalive_requests ${requests}; http2_max_concurrent_streams ${streams};`,
      "  server {",
      `    listen 127.0.0.1:${port} ssl http2;`,
      "    ssl_certificate server.crt; ssl_certificate_key server.key;",
      "    add_header apns-id $http_apns_id always;",
      ...refusals.map(({ body, prefix, status }) => `    location /3/device/${prefix} { return ${status} '${body}'; }`),
      "    location /3/device/444 { return 444; }",
      "    location /3/device/ffff { return 200; }",
      "  }",
      "}"
    ].join("\n")
  })
  yield* Servers.run("nginx", ["-p", at("."), "-c", at("nginx.conf"), "-e", at("error.log")], port)
  return { port, certs, seen: seenIn(at("access.log")) }
})

/** haproxy, with the same answers, and tokens that it cuts off, forgets, or holds back. */
export const haproxy = Effect.gen(function*() {
  const certs = yield* Servers.certificates
  const port = yield* freePort
  const at = certs.path
  const quoted = (text: string) => text.replaceAll("\"", "\\\"")
  Servers.write(at("."), {
    "both.pem": certs.server.cert + certs.server.key,
    "haproxy.cfg": [
      "global",
      "  tune.h2.max-concurrent-streams 1000",
      "  log stdout format raw local0",
      `  stats socket ${at("socket")} level admin expose-fd listeners`,
      "defaults",
      "  mode http",
      "  log global",
      "  log-format \"%[capture.req.hdr(0)] %ST %ci:%cp\"",
      "  timeout connect 5s",
      "  timeout client 5s",
      "  timeout server 5s",
      "  timeout tarpit 300ms",
      "frontend apns",
      `  bind 127.0.0.1:${port} ssl crt ${at("both.pem")} alpn h2`,
      "  declare capture request len 40",
      "  http-request capture req.hdr(apns-id) id 0",
      "  http-request reject if { path_beg /3/device/aaaa }",
      "  http-request silent-drop if { path_beg /3/device/bbbb }",
      "  http-request tarpit deny_status 503 if { path_beg /3/device/cccc }",
      ...refusals.map(({ body, prefix, status }) =>
        `  http-request return status ${status} content-type application/json string "${quoted(body)}"` +
        ` hdr apns-id %[req.hdr(apns-id)] if { path_beg /3/device/${prefix} }`
      ),
      "  http-request return status 200 hdr apns-id %[req.hdr(apns-id)]",
      ""
    ].join("\n")
  })
  const master = yield* Servers.run("haproxy", ["-W", "-f", at("haproxy.cfg")], port, at("haproxy.log"))
  return {
    port,
    certs,
    seen: seenIn(at("haproxy.log")),
    /** Starts again; the old process sends GOAWAY to its connections. */
    reload: Effect.sync(() => master.kill("SIGUSR2"))
  }
})

/** A request in caddy's log. */
interface CaddyLine {
  readonly status: number
  readonly request: {
    readonly remote_port: string
    readonly headers: { readonly "Apns-Id": readonly [string]; readonly Authorization: readonly [string] }
  }
}

/** caddy, which is Go's HTTP/2, with the same answers. It allows 250 streams. */
export const caddy = Effect.gen(function*() {
  const certs = yield* Servers.certificates
  const port = yield* freePort
  const at = certs.path
  const admin = `unix/${at("admin")}`
  const echoed = { handler: "headers", response: { set: { "apns-id": ["{http.request.header.apns-id}"] } } }
  const answers = refusals.map(({ body, prefix, status }) => ({
    match: [{ path: [`/3/device/${prefix}*`] }],
    handle: [echoed, { handler: "static_response", status_code: status, body }],
    terminal: true
  }))
  Servers.write(at("."), {
    "caddy.json": JSON.stringify({
      admin: { listen: admin, config: { persist: false } },
      storage: { module: "file_system", root: at("storage") },
      logging: {
        logs: {
          // what it says of itself goes to a pipe that nobody reads
          default: { writer: { output: "discard" } },
          pushes: { include: ["http.log.access"], writer: { output: "file", filename: at("access.log") } }
        }
      },
      apps: {
        tls: { certificates: { load_files: [{ certificate: at("server.crt"), key: at("server.key") }] } },
        http: {
          servers: {
            apns: {
              listen: [`127.0.0.1:${port}`],
              protocols: ["h1", "h2"],
              automatic_https: { disable: true },
              tls_connection_policies: [{}],
              logs: { should_log_credentials: true },
              routes: [...answers, { handle: [echoed, { handler: "static_response", status_code: 200 }] }]
            }
          }
        }
      }
    })
  })
  yield* Servers.run("caddy", ["run", "--config", at("caddy.json")], port)
  const seen = (): ReadonlyArray<Seen> =>
    (existsSync(at("access.log")) ? readFileSync(at("access.log"), "utf8") : "").split("\n").filter((line) =>
      line !== ""
    ).map((line) => {
      const { request: { headers, remote_port }, status } = JSON.parse(line) as CaddyLine
      return { id: headers["Apns-Id"][0], status, connection: remote_port, authorization: headers.Authorization[0] }
    })
  return {
    port,
    certs,
    seen,
    /** Reloads its configuration; the connections of the old process get a GOAWAY. */
    reload: Effect.callback<void>((resume) => {
      const args = ["reload", "--force", "--config", at("caddy.json"), "--address", admin]
      spawn(Programs.find("caddy") ?? "caddy", args, { stdio: "ignore" }).once("close", () => resume(Effect.void))
    })
  }
})

/** A server on python3-h2 that plays one of the parts in `peer.py`, and says which pushes it took and answered. */
export const python = Effect.fnUntraced(function*(part: string) {
  const server = yield* Servers.python(part, join(import.meta.dirname, "peer.py"))
  const ids = (word: string) => () =>
    server.lines().filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1))
  return {
    ...server,
    took: ids("took"),
    answered: ids("answered"),
    refused: ids("refused"),
    /** The devices whose answers were cut off. */
    cut: ids("cut"),
    connections: ids("connection")
  }
})

/** openssl, which speaks TLS and nothing else, behind a relay that counts connections. */
export const openssl = Effect.fnUntraced(function*(options: IssueOptions = {}) {
  const path = yield* folder
  const authority = yield* makeAuthority
  const { cert, key } = yield* authority.issue(options)
  Servers.write(path, { "server.crt": cert, "server.key": key })
  const port = yield* freePort
  const files = ["-cert", join(path, "server.crt"), "-key", join(path, "server.key")]
  yield* Servers.run("openssl", ["s_server", "-accept", `127.0.0.1:${port}`, ...files, "-alpn", "h2", "-quiet"], port)
  const between = yield* relay(port)
  return { ...between, certs: { ca: authority.cert } }
})

/** tinyproxy, which wants a user name and a password. */
export const tinyproxy = Effect.gen(function*() {
  const path = yield* folder
  const port = yield* freePort
  Servers.write(path, {
    "tinyproxy.conf": [
      `Port ${port}`,
      "Listen 127.0.0.1",
      "Allow 127.0.0.1",
      "BasicAuth me s3cret",
      `LogFile "${join(path, "log")}"`,
      "LogLevel Connect",
      ""
    ].join("\n")
  })
  yield* Servers.run("tinyproxy", ["-d", "-c", join(path, "tinyproxy.conf")], port)
  return {
    port,
    /** The tunnels that clients requested. */
    asked: () => readFileSync(join(path, "log"), "utf8").split("\n").filter((line) => line.includes("CONNECT "))
  }
})
