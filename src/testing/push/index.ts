/** What simulators of push services stand on. */
export * as Behaviour from "./Behaviour.ts"
export * as Certificate from "./Certificate.ts"
export * as Connection from "./Connection.ts"
export * as Recorder from "./Recorder.ts"
export * as Server from "./Server.ts"
