/**
 * Background jobs for services written with Effect.
 *
 * `Job` defines a job, `Publisher` publishes it, `Broker` keeps it, and `Worker`
 * runs it. Operators use `Operator` and the `Inspector`. The brokers have entry points
 * of their own (`backq/memory`, `backq/sqlite`, `backq/beanstalk`,
 * `backq/postgres`). So do the jobs that come with backq (`backq/process`,
 * `backq/apns`) and the helpers for tests (`backq/testing`).
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
export * as Transfer from "./Transfer.ts"
export * as Worker from "./Worker.ts"
