// policies.ts
import { ProcessPolicy } from "../../src/process/index.ts"

/** Two programs in one folder, with one variable, for ten minutes at most. */
export const images = ProcessPolicy.make({
  programs: ["convert", "/opt/reports/bin/build"],
  directories: ["/srv/images"],
  environment: ["LANG"],
  maxTimeout: "10 minutes"
})

/** Any program, and shell lines, but nothing that nobody waits for. */
export const nightly = ProcessPolicy.make({ shellLines: true, detach: false })

/** All that the worker's user may do. For a queue that only the worker's own user can publish to. */
export const everything = ProcessPolicy.open
