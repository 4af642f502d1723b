/** Helpers for the tests of services that publish jobs or run them. */
export { ProcessRunner, RecordedProcesses } from "../process/Process.ts"
export { perform, type PerformOptions } from "./Perform.ts"
export * as TestBroker from "./TestBroker.ts"
