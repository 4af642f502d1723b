/**
 * Takes a URL of PostgreSQL apart: `postgres://USER:PASSWORD@HOST:PORT,HOST/DATABASE?OPTIONS`.
 *
 * It may name several hosts, which the URL parser does not read. Pure; no part
 * of a message is what may be a password.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"

/** A server. */
export interface Host {
  readonly host: string
  readonly port: number
}

/** What a URL says, apart from its options. */
export interface Address {
  readonly hosts: ReadonlyArray<Host>
  readonly user: string | undefined
  readonly password: Redacted.Redacted | undefined
  readonly database: string | undefined
  readonly query: URLSearchParams
}

/** The port of a host that names none. */
export const defaultPort = 5432

const shape = /^postgres(?:ql)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/is

const decode = (text: string): Result.Result<string, string> =>
  Result.try({
    try: () => decodeURIComponent(text),
    catch: () => "its user, password or database is percent-encoded, and not in UTF-8: write % as %25"
  })

const optional = (text: string | undefined): Result.Result<string | undefined, string> =>
  text === undefined || text === "" ? Result.succeed(undefined) : decode(text)

const hostOf = (text: string): Result.Result<Host, string> => {
  const [, bracketed, name, port] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]%]*))(?::(\d{1,5}))?$/i.exec(text) ?? []
  const host = bracketed ?? name
  if (host === undefined) return Result.fail("a host must be a name, an address, or an IPv6 address in brackets")
  if (host === "") return Result.fail("the host is missing")
  const number = port === undefined ? defaultPort : Number(port)
  return number >= 1 && number <= 65535
    ? Result.succeed({ host, port: number })
    : Result.fail("the port must be a number from 1 to 65535")
}

/** Whether a host is this machine, so that a connection to it crosses no network. */
export const isLocal = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(host)

/** Reads a URL. The failure is what is wrong with it. */
export const parse = (url: string): Result.Result<Address, string> => {
  const found = shape.exec(url)
  if (found === null) return Result.fail("it must be postgres://USER:PASSWORD@HOST:PORT/DATABASE")
  const [, login, authority = "", path, search] = found
  // A password with a / in it ends up here, and so does what should be an option.
  if (/[@&;=]/.test(path ?? "")) {
    return Result.fail("its database has one of @ & ; = in it: write / in a password as %2F, and options after ?")
  }
  const [name, password] = login === undefined ? [] : login.split(/:(.*)/s)
  return Result.map(
    Result.all({
      hosts: Result.all(authority.split(",").map(hostOf)),
      user: optional(name),
      password: optional(password),
      database: optional(path)
    }),
    (read) => ({
      ...read,
      password: read.password === undefined ? undefined : Redacted.make(read.password),
      query: new URLSearchParams(search)
    })
  )
}
