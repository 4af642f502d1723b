/** Jobs that run operating-system processes. */
export * as ExitPolicy from "./ExitPolicy.ts"
export * as OutputTail from "./OutputTail.ts"
export * as Process from "./Process.ts"
export * as ProcessError from "./ProcessError.ts"
export * as ProcessJob from "./ProcessJob.ts"
export * as ProcessPayload from "./ProcessPayload.ts"
export * as ProcessPolicy from "./ProcessPolicy.ts"
export * as ProcessResult from "./ProcessResult.ts"
