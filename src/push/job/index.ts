/** What any push job needs, whichever the service is. */
export { Action } from "./Action.ts"
export * as DeadTargets from "./DeadTargets.ts"
export { finalize } from "./Finalize.ts"
export * as Plan from "./Plan.ts"
export { untilAccepted } from "./UntilAccepted.ts"
