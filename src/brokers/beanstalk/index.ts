/** beanstalkd: the broker, the client for its protocol, and the driver that both run on. */
export * as BeanstalkBroker from "./BeanstalkBroker.ts"
export * as Client from "./Client.ts"
export * as Connection from "./Connection.ts"
export * as Native from "./Native.ts"
