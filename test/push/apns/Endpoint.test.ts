import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Endpoint from "../../../src/push/apns/Endpoint.ts"

describe("Endpoint", () => {
  it("is Apple's production server by default", () => {
    assert.deepStrictEqual(Endpoint.make(), {
      environment: "production",
      push: { host: "api.push.apple.com", port: 443 },
      broadcast: { host: "api.push.apple.com", port: 443 },
      channels: { host: "api-manage-broadcast.push.apple.com", port: 2196 },
      proxy: undefined
    })
    assert.deepStrictEqual(Endpoint.make({ environment: "sandbox", port: 2197 }), {
      environment: "sandbox",
      push: { host: "api.sandbox.push.apple.com", port: 2197 },
      broadcast: { host: "api.sandbox.push.apple.com", port: 2197 },
      channels: { host: "api-manage-broadcast.sandbox.push.apple.com", port: 2195 },
      proxy: undefined
    })
  })

  it("uses another host for everything, and each part can be set separately", () => {
    const here = { host: "localhost", port: 8443 }
    const all = Endpoint.make(here)
    assert.deepStrictEqual([all.push, all.broadcast, all.channels], [here, here, here])
    const apart = Endpoint.make({ broadcast: { host: "api-broadcast.push.apple.com" }, channels: { port: 443 } })
    assert.deepStrictEqual(apart.broadcast, { host: "api-broadcast.push.apple.com", port: 443 })
    assert.deepStrictEqual(apart.channels, { host: "api-manage-broadcast.push.apple.com", port: 443 })
  })

  it("keeps Apple's server for channels if the host is Apple's", () => {
    const { channels, push } = Endpoint.make({ host: "api.push.apple.com", port: 2197 })
    assert.deepStrictEqual(push, { host: "api.push.apple.com", port: 2197 })
    assert.deepStrictEqual(channels, { host: "api-manage-broadcast.push.apple.com", port: 2196 })
  })

  it.each([
    ["http://proxy.example.com:3128", { host: "proxy.example.com", port: 3128 }],
    ["http://proxy.example.com", { host: "proxy.example.com", port: 80 }],
    ["  http://proxy.example.com  ", { host: "proxy.example.com", port: 80 }],
    ["http://[::1]:8080/", { host: "::1", port: 8080 }]
  ])("reads the proxy %s", (text, proxy) => {
    assert.deepStrictEqual(Result.getOrThrow(Endpoint.parseProxy(text)), proxy)
  })

  it.each(["", "proxy:3128", "https://proxy", "socks5://proxy", "http://proxy/path", "http://proxy?x"])(
    "refuses the proxy %j",
    (text) => assert.isTrue(Result.isFailure(Endpoint.parseProxy(text)))
  )
})
