/** HTTP/2 servers for the tests. Each ends with its scope. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs"
import type * as Net from "node:net"
import { dirname, join } from "node:path"
import * as Tls from "node:tls"
import { find, missing } from "../../scripts/test/servers.ts"
import * as Connection from "../../src/http2/Connection.ts"
import { FrameReader, preface } from "../../src/http2/frame/frame.ts"
import { makeAuthority } from "../../src/testing/push/Certificate.ts"
import { folder } from "./folder.ts"
import { freePort, listening } from "./network.ts"

/** Whether a program is missing, if it may be. */
export const isMissing = (program: string): boolean => find(program) === undefined && process.env["CI"] !== "true"

/** Whether python3-h2 is missing, if it may be. */
export const isPythonMissing = missing().includes("python3-h2") && process.env["CI"] !== "true"

const exited = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

/** Runs a program until the scope ends. What it prints is kept in a file, if one is named. */
export const run = Effect.fnUntraced(function*(
  program: string,
  args: ReadonlyArray<string>,
  port: number,
  output?: string
) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const out = output === undefined ? undefined : openSync(output, "a")
      const child = spawn(find(program) ?? program, args, { stdio: ["ignore", out ?? "ignore", "pipe"] })
      if (out !== undefined) closeSync(out)
      child.on("error", () => {})
      return child
    }),
    (child) => {
      child.kill("SIGKILL")
      return exited(child)
    }
  )
  yield* listening(port)
  return child
})

/** Writes files into a folder. */
export const write = (folder: string, files: Record<string, string>): void => {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
}

/** A folder with a server's certificate for `localhost` and its key, and the authority that signed it. */
export const certificates = Effect.gen(function*() {
  const path = yield* folder
  const authority = yield* makeAuthority
  const server = yield* authority.issue()
  write(path, { "server.crt": server.cert, "server.key": server.key })
  return { path: (name: string) => join(path, name), ca: authority.cert, server }
})

/**
 * nginx. It ends each connection with a GOAWAY after a number of requests, as its
 * `keepalive_requests` say, and writes down the `apns-id` of each request.
 */
export const nginx = Effect.fnUntraced(function*(requests: number) {
  const certs = yield* certificates
  const port = yield* freePort
  write(certs.path("."), {
    "nginx.conf": [
      "daemon off; master_process off; pid nginx.pid; error_log error.log;",
      "events { worker_connections 64; }",
      "http {",
      "  log_format id $http_apns_id; access_log access.log id;",
      "  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;",
      "  uwsgi_temp_path uwsgi; scgi_temp_path scgi;",
      `  keepalive_requests ${requests};`,
      "  server {",
      `    listen 127.0.0.1:${port} ssl http2;`,
      "    ssl_certificate server.crt; ssl_certificate_key server.key;",
      "    add_header apns-id $http_apns_id always;",
      `    location /gone { return 410 '{"reason":"Unregistered"}'; }`,
      "    location / { return 200; }",
      "  }",
      "}"
    ].join("\n")
  })
  yield* run("nginx", ["-p", certs.path("."), "-c", certs.path("nginx.conf"), "-e", certs.path("error.log")], port)
  return { port, certs, ids: () => readFileSync(certs.path("access.log"), "utf8").trimEnd().split("\n") }
})

/** haproxy, which answers by path: as Apple would, late, with a reset, or not at all. */
export const haproxy = Effect.fnUntraced(function*(maxStreams: number) {
  const certs = yield* certificates
  const port = yield* freePort
  write(certs.path("."), {
    "both.pem": certs.server.cert + certs.server.key,
    "haproxy.cfg": [
      "global",
      `  tune.h2.max-concurrent-streams ${maxStreams}`,
      `  maxconn ${maxStreams + 100}`,
      "defaults",
      "  mode http",
      "  timeout connect 5s",
      "  timeout client 5s",
      "  timeout server 5s",
      "  timeout tarpit 500ms",
      "frontend apns",
      `  bind 127.0.0.1:${port} ssl crt ${certs.path("both.pem")} alpn h2`,
      "  http-request reject if { path_beg /reject }",
      "  http-request tarpit deny_status 503 if { path_beg /late }",
      "  http-request return status 429 content-type application/json string '{\"reason\":\"TooManyRequests\"}' " +
      "hdr apns-id %[req.hdr(apns-id)] if { path_beg /busy }",
      "  http-request return status 200 hdr apns-id %[req.hdr(apns-id)]",
      ""
    ].join("\n")
  })
  yield* run("haproxy", ["-f", certs.path("haproxy.cfg")], port)
  return { port, certs }
})

/** A server on python3-h2 that plays one of the parts in a script. */
export const python = Effect.fnUntraced(
  function*(part: string, script = join(import.meta.dirname, "..", "http2", "peer.py")) {
    const certs = yield* certificates
    const port = yield* freePort
    const child = yield* run(
      "/usr/bin/python3",
      [script, part, String(port), certs.path("server.crt"), certs.path("server.key")],
      port,
      certs.path("output")
    )
    let said = ""
    child.stderr?.on("data", (chunk) => said += chunk)
    return {
      port,
      certs,
      /** What the client did wrong. */
      said: () => said,
      /** What it has printed, line by line. */
      lines: () => readFileSync(certs.path("output"), "utf8").split("\n").filter((line) => line !== "")
    }
  }
)

/** nghttpd, which serves files: 200 for existing ones, 404 for all others. */
export const nghttpd = Effect.fnUntraced(function*(files: Record<string, string>, ...options: ReadonlyArray<string>) {
  const certs = yield* certificates
  const port = yield* freePort
  write(certs.path("htdocs"), files)
  const own = [certs.path("server.key"), certs.path("server.crt")]
  yield* run("nghttpd", ["-a", "127.0.0.1", "-d", certs.path("htdocs"), ...options, String(port), ...own], port)
  return { port, certs }
})

/** A TLS server that follows a script for each connection. Returns its port. */
export const scriptedTls = Effect.fnUntraced(function*(
  options: Tls.TlsOptions,
  script: (socket: Tls.TLSSocket, number: number) => void,
  host = "127.0.0.1"
) {
  const sockets = new Set<Net.Socket>()
  let number = 0
  const server = Tls.createServer({ ALPNProtocols: ["h2"], ...options }, (socket) => {
    socket.on("error", () => {})
    script(socket, ++number)
  })
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket)).on("error", () => {})
  })
  server.on("tlsClientError", (_, socket) => socket.destroy())
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, host, () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resume(Effect.void))
      })
  )
  return (server.address() as Net.AddressInfo).port
})

/** Calls `take` with each frame that a client sends, after its preface. */
export const frames = (
  socket: Net.Socket,
  take: (type: number, flags: number, stream: number, payload: Buffer) => void
): void => {
  let missing = preface.length
  const reader = new FrameReader((type, flags, stream, bytes, start, end) => {
    take(type, flags, stream, Buffer.from(bytes.subarray(start, end)))
    return undefined
  })
  socket.on("data", (chunk: Buffer) => {
    const skipped = Math.min(missing, chunk.length)
    missing -= skipped
    reader.feed(chunk.subarray(skipped))
  })
}

/** An address that does not answer: a listener with a full queue, so that the kernel drops new connections. */
export const silent = Effect.fnUntraced(function*(address: string, port: number) {
  const script = [
    "import socket, time",
    "listener = socket.socket()",
    "listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)",
    `listener.bind(("${address}", ${port}))`,
    "listener.listen(0)",
    "held = [socket.socket() for _ in range(4)]",
    "for one in held:",
    "  one.setblocking(False)",
    `  one.connect_ex(("${address}", ${port}))`,
    "print(flush=True)",
    "time.sleep(60)"
  ]
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn("/usr/bin/python3", ["-c", script.join("\n")], { stdio: ["ignore", "pipe", "inherit"] })),
    (child) => {
      child.kill("SIGKILL")
      return exited(child)
    }
  )
  yield* Effect.callback<void>((resume) => void child.stdout.once("data", () => resume(Effect.void)))
  return address
})

/** A connection to a server that follows a script. */
export const connect = Effect.fnUntraced(function*(
  script: (socket: Tls.TLSSocket) => void,
  options: Partial<Connection.Options> = {},
  tls: Tls.TlsOptions = {}
) {
  const authority = yield* makeAuthority
  const port = yield* scriptedTls({ ...(yield* authority.issue()), ...tls }, script)
  return yield* Connection.make({
    host: "127.0.0.1",
    port,
    tls: { ca: authority.cert, servername: "localhost" },
    ...options
  })
})

/** Waits until a condition holds. */
export const eventually = (isSo: () => boolean) =>
  Effect.suspend(() => isSo() ? Effect.void : Effect.fail("not yet")).pipe(
    Effect.retry({ times: 1000, schedule: Schedule.spaced("10 millis") })
  )
