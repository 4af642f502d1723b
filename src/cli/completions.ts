/** `--completions`: as Effect makes them, with names of files in bash where there is nothing better to offer. */
import * as CliConfig from "effect/cli/CliConfig"
import * as Completions from "effect/cli/Completions"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const completions: typeof GlobalFlag.Completions = {
  ...GlobalFlag.Completions,
  run: (shell, { command }) =>
    Option.match(shell, {
      onNone: () => Effect.void,
      onSome: (shell) =>
        Console.log(
          Completions.generate(command.name, shell, Completions.fromCommand(command))
            .replace("\ncomplete -F", "\ncomplete -o default -F")
        )
    })
}

/** The flags that every command has, with these completions. */
export const config: CliConfig.CliConfig.Service = CliConfig.make({
  builtIns: GlobalFlag.BuiltIns.map((flag) => flag === GlobalFlag.Completions ? completions : flag)
})
