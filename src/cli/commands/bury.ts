/** `backq bury`: buries jobs. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Operator from "../../Operator.ts"
import * as Flags from "../flags/flags.ts"
import { each } from "../render/results.ts"
import { operate } from "../root.ts"

/** `backq bury`. */
export const bury = Command.make("bury", {
  ids: Flags.idArguments,
  reason: Flag.String("reason").pipe(
    Flag.withDescription(
      "The reason to store with the jobs; some brokers do not keep it. Default: buried by an operator"
    ),
    Flag.withDefault("buried by an operator")
  ),
  json: Flags.json
}, ({ ids, json, reason }) => operate(each(ids, "buried", json, (id) => Operator.buryJob(id, reason)))).pipe(
  Command.withDescription(
    "Bury ready or delayed jobs, until an operator kicks them. On beanstalkd this needs 1.12 or newer"
  ),
  Command.withShortDescription("Bury jobs"),
  Command.withExamples([{ command: "backq bury 42 43 --reason \"waits for the new template\"" }])
)
