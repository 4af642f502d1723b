// policies.ts
import { ProcessPolicy } from "../../src/process/index.ts"

/** Two programs in one directory, with one variable, for at most ten minutes. */
export const images = ProcessPolicy.make({
  programs: ["convert", "/opt/reports/bin/build"],
  directories: ["/srv/images"],
  environment: ["LANG"],
  maxTimeout: "10 minutes"
})

/** Any program, and shell lines, but no detached processes. */
export const nightly = ProcessPolicy.make({ shellLines: true, detach: false })

/** Everything that the worker's user may do. Use it only if nobody but this user can publish to the queue. */
export const everything = ProcessPolicy.open
