/** The largest integer of 32 bits, the limit of many numbers of beanstalkd: 2^32 - 1. */
export const maxUint32 = 4294967295
