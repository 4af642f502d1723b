/** An nghttpd for a benchmark: it takes a push to one device token, or to Google, and answers 200. */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Server from "./server.ts"

export const token = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

/** The project of Google whose messages it takes. */
export const project = "backq-bench"

/** Where Google takes messages of a project. */
export const fcmPath = `/v1/projects/${project}/messages:send`

/** Makes a certificate for localhost: the files `cert` and `key` of a folder. */
export const certify = (folder: string) => {
  const openssl = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost " +
    "-addext subjectAltName=DNS:localhost -keyout key -out cert"
  execFileSync("openssl", openssl.split(" "), { stdio: "ignore", cwd: folder })
}

/** Starts it, with a certificate of its own for localhost. */
export const start = async (maxStreams: number) => {
  const folder = mkdtempSync(join(tmpdir(), "backq-bench-"))
  const at = (name: string) => join(folder, name)
  mkdirSync(at("htdocs/3/device"), { recursive: true })
  writeFileSync(at(`htdocs/3/device/${token}`), "")
  mkdirSync(at(`htdocs/v1/projects/${project}`), { recursive: true })
  writeFileSync(
    at(`htdocs${fcmPath}`),
    `{\n  "name": "projects/${project}/messages/0:1500415314455276%31bd1c9631bd1c96"\n}\n`
  )
  certify(folder)
  const { pid, port, stop } = await Server.start(
    "nghttpd",
    (port) => ["-a", "127.0.0.1", "-d", at("htdocs"), "-m", String(maxStreams), String(port), at("key"), at("cert")]
  )
  return {
    port,
    pid,
    ca: readFileSync(at("cert"), "utf8"),
    stop: () => {
      stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
