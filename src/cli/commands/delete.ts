/** `backq delete`: deletes jobs. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Operator from "../../Operator.ts"
import { confirm, maxUnconfirmedJobs } from "../ask.ts"
import * as Flags from "../flags/flags.ts"
import { each } from "../render/results.ts"
import { jobs as countJobs } from "../render/text.ts"
import { operate } from "../root.ts"

/** `backq delete`. */
export const del = Command.make(
  "delete",
  { ids: Flags.idArguments, yes: Flags.yes, json: Flags.json },
  ({ ids, json, yes }) =>
    operate(Effect.gen(function*() {
      if (ids.length > maxUnconfirmedJobs) yield* confirm(`delete ${countJobs(ids.length)}`, yes)
      yield* each(ids, "deleted", json, Operator.delete)
    }))
).pipe(
  Command.withDescription(
    `Delete jobs for good, except those that a worker holds. Asks for confirmation above ${maxUnconfirmedJobs} jobs. ` +
      `\`drain\` empties a queue`
  ),
  Command.withShortDescription("Delete jobs"),
  Command.withExamples([{ command: "backq delete 42 43" }])
)
