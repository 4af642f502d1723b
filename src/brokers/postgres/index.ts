/** The broker in a database of PostgreSQL. */
export * as PostgresBroker from "./PostgresBroker.ts"
