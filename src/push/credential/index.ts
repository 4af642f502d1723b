/** The credentials of push services: what they have in common. */
export * as Es256 from "./Es256.ts"
export * as KeyMaterial from "./KeyMaterial.ts"
export { readFile } from "./readFile.ts"
export { FileUnreadable, OptionInvalid, OptionMissing } from "./Reasons.ts"
export { onReplaced, watch } from "./watch.ts"
