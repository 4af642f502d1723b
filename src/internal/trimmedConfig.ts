/** Reads configuration whose values may end with a line end, because `echo` writes one. An empty value counts as absent. */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"

const isLineEnd = (char: string | undefined): boolean => char === "\n" || char === "\r"

const withoutLineEnds = (value: string): string => {
  let end = value.length
  while (isLineEnd(value[end - 1])) end--
  return value.slice(0, end)
}

const withValue = (node: ConfigProvider.Node, value: string): ConfigProvider.Node | undefined =>
  value === "" ? undefined : { ...node, value } as ConfigProvider.Node

/** The provider, without line ends after its values. */
export const trimmed = (provider: ConfigProvider.ConfigProvider): ConfigProvider.ConfigProvider =>
  ConfigProvider.make((path) =>
    Effect.map(
      provider.load(path),
      (node) => node?.value === undefined ? node : withValue(node, withoutLineEnds(node.value))
    )
  )
