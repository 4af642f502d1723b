/** What the brokers are expected to say of themselves. */
import type { Features } from "../../src/Broker.ts"

/** A file. */
export const sqlite: Features = {
  resolution: "millisecond",
  canList: true,
  canBury: true,
  canMove: true,
  keepsReasons: true,
  keepsDone: false,
  keepsAttempts: true
}

/** beanstalkd, by the native driver. */
export const beanstalkd: Features = {
  resolution: "second",
  canList: false,
  canBury: true,
  canMove: true,
  keepsReasons: false,
  keepsDone: false,
  keepsAttempts: false
}

/** A database of PostgreSQL. */
export const postgres: Features = sqlite
