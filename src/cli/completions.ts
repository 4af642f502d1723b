/** `--completions`: the completions that Effect makes; where they offer nothing, bash offers file names. */
import * as CliConfig from "effect/cli/CliConfig"
import * as Completions from "effect/cli/Completions"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { display } from "./output.ts"
import { interruptible } from "./root.ts"

const completions: typeof GlobalFlag.Completions = {
  ...GlobalFlag.Completions,
  run: (shell, { command }) =>
    Option.match(shell, {
      onNone: () => Effect.void,
      onSome: (shell) =>
        // main.ts recognizes the failure
        Effect.orDie(interruptible(display(
          Completions.generate(command.name, shell, Completions.fromCommand(command))
            .replace("\ncomplete -F", "\ncomplete -o default -F") + "\n"
        )))
    })
}

/** The flags that every command has, with these completions. */
export const config: CliConfig.CliConfig.Service = CliConfig.make({
  builtIns: GlobalFlag.BuiltIns.map((flag) => flag === GlobalFlag.Completions ? completions : flag)
})
