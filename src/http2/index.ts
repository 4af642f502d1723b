/** HTTP/2 for clients. */
export * as Connection from "./Connection.ts"
export * as Http2Error from "./Http2Error.ts"
export * as Message from "./Message.ts"
export * as Options from "./Options.ts"
