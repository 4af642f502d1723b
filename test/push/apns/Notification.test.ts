import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Result from "effect/Result"
import { encode } from "../../../src/push/apns/notification/Encoder.ts"
import * as Notification from "../../../src/push/apns/notification/Notification.ts"

const at = DateTime.makeUnsafe("2025-11-24T12:00:00.999Z")

const activity = { timestamp: at, contentState: { score: [1, 0] } }

/** Each maker: what it is given, the headers and the JSON that go out. */
const golden: ReadonlyArray<readonly [string, Notification.Notification, Record<string, string>, string]> = [
  [
    "alert, the smallest",
    Notification.alert({ body: "Hello" }),
    { "apns-topic": "com.example.app", "apns-push-type": "alert", "apns-priority": "10" },
    `{"aps":{"alert":{"body":"Hello"}}}`
  ],
  [
    "alert, everything",
    Notification.alert({
      topic: "com.example.other",
      priority: 5,
      expiration: at,
      collapseId: "order-42",
      title: "Title",
      subtitle: "Subtitle",
      body: "Größe 🎉",
      launchImage: "launch",
      titleLocKey: "T",
      titleLocArgs: ["1"],
      subtitleLocKey: "S",
      subtitleLocArgs: ["2"],
      locKey: "B",
      locArgs: ["3", ""],
      action: "View",
      badge: 0,
      sound: { critical: 1, name: "default", volume: 0 },
      threadId: "thread",
      category: "ORDER",
      contentAvailable: true,
      mutableContent: true,
      targetContentId: "window",
      interruptionLevel: "time-sensitive",
      relevanceScore: 0,
      filterCriteria: "work",
      urlArgs: ["a"],
      data: { order: 42, "": null }
    }),
    {
      "apns-topic": "com.example.other",
      "apns-push-type": "alert",
      "apns-priority": "5",
      "apns-expiration": "1763985600",
      "apns-collapse-id": "order-42"
    },
    `{"aps":{"alert":{"title":"Title","subtitle":"Subtitle","body":"Größe 🎉","launch-image":"launch",` +
    `"title-loc-key":"T","title-loc-args":["1"],"subtitle-loc-key":"S","subtitle-loc-args":["2"],` +
    `"loc-key":"B","loc-args":["3",""],"action":"View"},"badge":0,` +
    `"sound":{"critical":1,"name":"default","volume":0},"thread-id":"thread","category":"ORDER",` +
    `"content-available":1,"mutable-content":1,"target-content-id":"window","interruption-level":"time-sensitive",` +
    `"relevance-score":0,"filter-criteria":"work","url-args":["a"]},"order":42,"":null}`
  ],
  [
    "alert, a badge alone",
    Notification.alert({ badge: 0, contentAvailable: false, mutableContent: undefined }),
    { "apns-topic": "com.example.app", "apns-push-type": "alert", "apns-priority": "10" },
    `{"aps":{"badge":0}}`
  ],
  [
    "background",
    Notification.background({ data: { sync: true }, expiration: 0 }),
    {
      "apns-topic": "com.example.app",
      "apns-push-type": "background",
      "apns-priority": "5",
      "apns-expiration": "0"
    },
    `{"aps":{"content-available":1},"sync":true}`
  ],
  [
    "liveActivityStart",
    Notification.liveActivityStart({
      ...activity,
      alert: { title: { "loc-key": "T", "loc-args": ["1"] }, body: "Kick-off", sound: "default" },
      attributesType: "Match",
      attributes: { home: "A" },
      staleDate: 1763989200,
      relevanceScore: 100,
      inputPushToken: true
    }),
    {
      "apns-topic": "com.example.app.push-type.liveactivity",
      "apns-push-type": "liveactivity",
      "apns-priority": "10"
    },
    `{"aps":{"timestamp":1763985600,"event":"start","alert":{"title":{"loc-key":"T","loc-args":["1"]},` +
    `"body":"Kick-off","sound":"default"},"stale-date":1763989200,"relevance-score":100,` +
    `"attributes-type":"Match","attributes":{"home":"A"},"content-state":{"score":[1,0]},"input-push-token":1}}`
  ],
  [
    "liveActivityStart on a channel",
    Notification.liveActivityStart({
      ...activity,
      alert: { title: "T" },
      attributesType: "Match",
      attributes: {},
      inputPushChannel: "dHN0LXNyY2gtY2hubA=="
    }),
    {
      "apns-topic": "com.example.app.push-type.liveactivity",
      "apns-push-type": "liveactivity",
      "apns-priority": "10"
    },
    `{"aps":{"timestamp":1763985600,"event":"start","alert":{"title":"T"},"attributes-type":"Match",` +
    `"attributes":{},"content-state":{"score":[1,0]},"input-push-channel":"dHN0LXNyY2gtY2hubA=="}}`
  ],
  [
    "liveActivityUpdate",
    Notification.liveActivityUpdate({ ...activity, priority: 5 }),
    {
      "apns-topic": "com.example.app.push-type.liveactivity",
      "apns-push-type": "liveactivity",
      "apns-priority": "5"
    },
    `{"aps":{"timestamp":1763985600,"event":"update","content-state":{"score":[1,0]}}}`
  ],
  [
    "liveActivityEnd",
    Notification.liveActivityEnd({ timestamp: 1763985600, dismissalDate: 0 }),
    {
      "apns-topic": "com.example.app.push-type.liveactivity",
      "apns-push-type": "liveactivity",
      "apns-priority": "10"
    },
    `{"aps":{"timestamp":1763985600,"event":"end","dismissal-date":0}}`
  ],
  [
    "voip",
    Notification.voip({ data: { call: "a" } }),
    {
      "apns-topic": "com.example.app.voip",
      "apns-push-type": "voip",
      "apns-priority": "10",
      "apns-expiration": "0"
    },
    `{"aps":{},"call":"a"}`
  ],
  [
    "pushToTalk",
    Notification.pushToTalk({ data: { speaker: "a" }, expiration: 1763985600 }),
    {
      "apns-topic": "com.example.app.voip-ptt",
      "apns-push-type": "pushtotalk",
      "apns-priority": "10",
      "apns-expiration": "1763985600"
    },
    `{"aps":{},"speaker":"a"}`
  ],
  [
    "complication",
    Notification.complication({ data: { steps: 1 } }),
    { "apns-topic": "com.example.app.complication", "apns-push-type": "complication", "apns-priority": "10" },
    `{"aps":{},"steps":1}`
  ],
  [
    "location",
    Notification.location(),
    { "apns-topic": "com.example.app.location-query", "apns-push-type": "location", "apns-priority": "10" },
    `{"aps":{}}`
  ],
  [
    "widgets",
    Notification.widgets(),
    { "apns-topic": "com.example.app.push-type.widgets", "apns-push-type": "widgets", "apns-priority": "10" },
    `{"aps":{"content-changed":true}}`
  ],
  [
    "controls",
    Notification.controls(),
    { "apns-topic": "com.example.app.push-type.controls", "apns-push-type": "controls", "apns-priority": "10" },
    `{"aps":{"content-changed":true}}`
  ],
  [
    "fileProvider",
    Notification.fileProvider({ containerIdentifier: "NSFileProviderWorkingSetContainerItemIdentifier", domain: "d" }),
    {
      "apns-topic": "com.example.app.pushkit.fileprovider",
      "apns-push-type": "fileprovider",
      "apns-priority": "10"
    },
    `{"container-identifier":"NSFileProviderWorkingSetContainerItemIdentifier","domain":"d"}`
  ],
  [
    "mdm",
    Notification.mdm({ topic: "com.apple.mgmt.External.9fcd2a3b", pushMagic: "magic" }),
    { "apns-topic": "com.apple.mgmt.External.9fcd2a3b", "apns-push-type": "mdm", "apns-priority": "10" },
    `{"mdm":"magic"}`
  ]
]

describe("Notification", () => {
  it("has a golden form for every constructor", () => {
    const makers = Object.entries(Notification).filter(([, value]) => typeof value === "function").map(([name]) => name)
    const tested = new Set(golden.map(([name]) => name.split(/[ ,]/)[0]!))
    assert.sameMembers(makers.filter((name) => name !== "Notification"), [...tested])
  })

  it.each(golden)("%s", (_, notification, headers, json) => {
    const encoded = Result.getOrThrow(encode(notification, { topic: "com.example.app" }))
    assert.deepStrictEqual(Object.fromEntries(encoded.headers), headers)
    assert.strictEqual(new TextDecoder().decode(encoded.body), json)
  })

  const untyped = (values: Record<string, unknown>) => values as never

  it.each<[string, () => Notification.Notification, string]>([
    [
      "a timestamp of null",
      () => Notification.liveActivityUpdate(untyped({ ...activity, timestamp: null })),
      "timestamp"
    ],
    [
      "a timestamp of text",
      () => Notification.liveActivityUpdate(untyped({ ...activity, timestamp: "12:00" })),
      "timestamp"
    ],
    [
      "a stale date of null",
      () => Notification.liveActivityUpdate(untyped({ ...activity, staleDate: null })),
      "stale-date"
    ],
    ["an expiration of null", () => Notification.alert(untyped({ body: "a", expiration: null })), "expiration"],
    ["an expiration of a Date", () => Notification.voip(untyped({ expiration: new Date(0) })), "expiration"],
    ["an alert of null", () => Notification.liveActivityEnd(untyped({ ...activity, alert: null })), "alert"]
  ])(
    "wrong types from a program without types are refused by the encoder and thrown by no constructor: %s",
    (_, make, field) => {
      const error = Result.getOrThrow(Result.flip(encode(make(), { topic: "com.example.app" })))
      assert.strictEqual(error.reason._tag, "InvalidNotification")
      assert.include("field" in error.reason ? error.reason.field : "", field)
    }
  )
})
