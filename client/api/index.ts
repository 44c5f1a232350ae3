/** The HTTP API of a node: publish, fetch, status. For the user's own programs, on loopback, behind a token. */
export { type ApiOptions, type FaceServer, startApi } from './server.ts'
export { readToken, TOKEN_FILE } from './token.ts'
export { TRANSFERS_MAX, type TransferReport } from './transfers.ts'
