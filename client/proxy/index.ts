/** The HTTP proxy of a node: publications as web pages, and no way to the open internet. */
export { type ProxyOptions, startProxy } from './server.ts'
export { type Target, targetOf } from './target.ts'
