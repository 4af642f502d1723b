/** The broker in memory. */
export * as MemoryBroker from "./MemoryBroker.ts"
