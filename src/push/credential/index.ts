/** The credentials of push services: what they have in common. */
export * as KeyMaterial from "./KeyMaterial.ts"
