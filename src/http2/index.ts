/** A client's HTTP/2 connection. */
export * as Connection from "./Connection.ts"
export * as Http2Error from "./Http2Error.ts"
