/**
 * Background jobs for services written with Effect.
 *
 * `Job` defines what a job is, `Publisher` sends it, `Worker` runs it, and a
 * `Broker` keeps it in between; operators look into it through its `Inspector`. The brokers have entry points of their own:
 * `backq/memory`, `backq/sqlite`, `backq/beanstalk`; so have the jobs that come in the box
 * (`backq/process`) and the helpers for tests (`backq/testing`).
 */
export * as Broker from "./Broker.ts"
export * as BrokerError from "./BrokerError.ts"
export * as Envelope from "./Envelope.ts"
export * as Handler from "./Handler.ts"
export * as Inspector from "./Inspector.ts"
export * as Job from "./Job.ts"
export * as Operator from "./Operator.ts"
export * as Outcome from "./Outcome.ts"
export * as Publisher from "./Publisher.ts"
export * as Worker from "./Worker.ts"
