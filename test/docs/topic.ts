// topic.ts
import { Apns, type Credential, type Endpoint, Notification } from "../../src/push/apns/index.ts"

/** A key serves all apps of its team. Its `topic` is the default for notifications without one. */
export const apns = (key: Omit<Credential.KeyOptions, "topic">, where: Endpoint.Options = {}) =>
  Apns.layer({ credential: { ...key, topic: "com.example.app" }, ...where })

export const toTheApp = Notification.alert({ body: "Hello" })
export const toAnother = Notification.alert({ topic: "com.example.another", body: "Hello" })
