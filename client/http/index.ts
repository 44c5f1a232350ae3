/** What API and proxy share: errors as HTTP, conditions and ranges, the serving of a publication, limits of a server. */
export { clockOf } from './clock.ts'
export { ClientGone, type Failure, failureOf, HttpFailure, problemJson } from './failure.ts'
export { matchesEtag, parseRange, quotedEtag, rangeStands, safeContentType, type Wanted } from './range.ts'
export { type Representation, reset, type Served, type ServeOptions, serveFile, signalOf } from './serve.ts'
export { isPageRequest, isReload, type ServeSiteOptions, serveSite } from './serve-site.ts'
export {
  answerRaw,
  CHECK_INTERVAL_MS,
  CLOSE_GRACE_MS,
  CONNECTIONS_MAX,
  closeServer,
  HEADER_BYTES_MAX,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_MS,
  limit,
  listenAt,
  SERVER_OPTIONS,
  statusOfParseError,
} from './server.ts'

/** What a face is made of: the node, and how it waits and speaks. */
export interface FaceParts {
  readonly face: import('../library.ts').NodeFace
  readonly clock: import('../../src/runtime/index.ts').Clock
  readonly log: import('../../src/log/index.ts').Logger
}
