/** Shows the outcomes of running workers to other processes. */
export * as Tail from "./Tail.ts"
export * as TailEvent from "./TailEvent.ts"
