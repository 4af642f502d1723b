/** The parts of a push job that do not depend on the push service. */
export { Action } from "./Action.ts"
export * as DeadTargets from "./DeadTargets.ts"
export * as Plan from "./Plan.ts"
export * as PushJob from "./PushJob.ts"
export { logReported, reportedLine } from "./reported.ts"
export { distinctTargets, type JobLimits, splitTargets, splitTokens } from "./targets.ts"
