/** Certificates for the TLS tests, made on the spot. */
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { folder } from "./folder.ts"

/** An authority, a server's certificate for `localhost`, a client's, two of a server for other purposes, and one for an address. */
export const certificates = Effect.map(folder, (path) => {
  const at = (name: string) => join(path, name)
  const openssl = (...args: ReadonlyArray<string>) => execFileSync("openssl", args, { stdio: "ignore", cwd: path })
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority")
  const usages = { server: [], client: [], clientOnly: ["clientAuth"], mailOnly: ["emailProtection"], address: [] }
  for (const [name, usage] of Object.entries(usages)) {
    openssl(
      "req",
      ...key,
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.csr`,
      "-subj",
      "/CN=localhost",
      "-addext",
      `subjectAltName=${name === "address" ? "IP:10.0.0.1" : "DNS:localhost"}`,
      ...usage.flatMap((one) => ["-addext", `extendedKeyUsage=${one}`])
    )
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      "ca.crt",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-out",
      `${name}.crt`,
      "-days",
      "2",
      "-copy_extensions",
      "copy"
    )
  }
  const read = (name: string) => readFileSync(at(name), "utf8")
  const pair = (name: keyof typeof usages) => ({ key: read(`${name}.key`), cert: read(`${name}.crt`) })
  return {
    path: at,
    ca: read("ca.crt"),
    server: pair("server"),
    client: pair("client"),
    clientOnly: pair("clientOnly"),
    mailOnly: pair("mailOnly"),
    address: pair("address")
  }
})
