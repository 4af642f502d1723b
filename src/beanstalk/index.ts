/** The broker over beanstalkd. */
export * as BeanstalkBroker from "./BeanstalkBroker.ts"
