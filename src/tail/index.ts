/** Outcomes of workers, seen from outside while they work. */
export * as Tail from "./Tail.ts"
export * as TailEvent from "./TailEvent.ts"
