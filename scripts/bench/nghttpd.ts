/** An nghttpd for a benchmark: it takes a push to one device token, and answers 200 without a body. */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Server from "./server.ts"

export const token = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

/** Starts it, with a certificate of its own for localhost. */
export const start = async (maxStreams: number) => {
  const folder = mkdtempSync(join(tmpdir(), "backq-bench-"))
  const at = (name: string) => join(folder, name)
  mkdirSync(at("htdocs/3/device"), { recursive: true })
  writeFileSync(at(`htdocs/3/device/${token}`), "")
  const openssl = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost " +
    "-addext subjectAltName=DNS:localhost -keyout key -out cert"
  execFileSync("openssl", openssl.split(" "), { stdio: "ignore", cwd: folder })
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
