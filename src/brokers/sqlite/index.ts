/** The broker in a file of SQLite. */
export * as SqliteBroker from "./SqliteBroker.ts"
