/**
 * Files and sites as web pages. Each address is its own web origin; no page can make a browser that uses the proxy for `.gyre` alone fetch
 * something from the open internet; pages of this network may use each other's images, scripts and data.
 *
 * Why that is safe to allow: all of it is public to who knows its address, and none of it depends on who asks (nothing here sets or reads
 * a cookie). So `Access-Control-Allow-Origin: *` for pages of this network, which browsers do not honour with credentials, and no such
 * header for pages of the open internet, which must not find out what this user can reach. Chromium sends Sec-Fetch-* to secure origins
 * only, so that Origin is what there is to go by. A single file's own page, if it is one, keeps to its own origin (and loads nothing):
 * it is whole by itself; a site says what it is made of by addresses.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import type { Clock } from '../../src/runtime/index.ts'
import { HttpFailure, serveFile, serveSite } from '../http/index.ts'
import type { Route, RouteAsking } from './destination.ts'
import { isGyreOrigin, type Target } from './target.ts'

const NETWORK = 'http://*.gyre:* https://*.gyre:*'
const SOCKETS = 'ws://*.gyre:* wss://*.gyre:*'

/** The policy of a page that may load from `sources`. `form-action` and `base-uri` do not fall back to `default-src`. */
function policy(sources: string, forms: string): string {
  return [
    `default-src ${sources} 'unsafe-inline' 'unsafe-eval' data: blob:`,
    "base-uri 'self'",
    `form-action ${forms}`,
    "frame-ancestors 'self'",
    "object-src 'none'",
    "webrtc 'block'",
  ].join('; ')
}

/** Sent with every answer. DNS prefetching of a page's links would be a leak. */
const SHARED_HEADERS = {
  'Cache-Control': 'private, no-cache',
  'Cross-Origin-Resource-Policy': 'cross-origin',
  Vary: 'Origin',
  'X-Content-Type-Options': 'nosniff',
  'X-DNS-Prefetch-Control': 'off',
} as const

const FILE_HEADERS = {
  ...SHARED_HEADERS,
  'Content-Security-Policy': policy("'self'", "'self'"),
  'Referrer-Policy': 'no-referrer',
} as const

const SITE_HEADERS = {
  ...SHARED_HEADERS,
  'Content-Security-Policy': policy(`'self' ${NETWORK} ${SOCKETS}`, `'self' ${NETWORK}`),
  'Referrer-Policy': 'same-origin',
} as const

export interface ContentParts {
  readonly clock: Clock
  readonly asking: RouteAsking
  /** Further headers for this client. */
  readonly headers: Readonly<Record<string, string>>
}

/** Serves a file or site. Errors: `HttpFailure` (method, path, conditions), those of reading. */
export async function serveContent(
  route: Exclude<Route, { kind: 'live' }>,
  target: Target,
  request: IncomingMessage,
  response: ServerResponse,
  { clock, asking, headers: further }: ContentParts,
): Promise<void> {
  const { method, headers } = request
  const base = { ...(route.kind === 'file' ? FILE_HEADERS : SITE_HEADERS), ...further, ...shared(headers.origin) }
  if (method === 'OPTIONS') {
    const allow = {
      Allow: 'GET, HEAD, OPTIONS',
      'Access-Control-Allow-Methods': 'GET, HEAD',
      'Access-Control-Allow-Headers': '*',
    }
    response.writeHead(204, { ...base, ...allow }).end()
    return
  }
  if (method !== 'GET' && method !== 'HEAD') {
    const error = new OverlayError(
      'protocol',
      'PROXY_REFUSED',
      'What is published there can be read, with GET and HEAD, and nothing else.',
    )
    throw new HttpFailure(405, error, { Allow: 'GET, HEAD, OPTIONS' })
  }
  const path = target.path.replace(/\?.*$/s, '')
  if (route.kind === 'site') {
    const snapshot = route.snapshot ? { 'Gyre-Served': 'snapshot' } : {}
    await serveSite(route.site, path, request, response, { clock, ...asking, headers: { ...base, ...snapshot } })
    return
  }
  if (path !== '/') {
    const error = new OverlayError('not-found', 'PATH_NOT_FOUND', 'The address is one file: it is at the path / alone.')
    throw new HttpFailure(404, error)
  }
  await serveFile(route.file, request, response, { clock, signal: asking.signal, headers: base })
}

/** What a page of another site may read of the answer. */
function shared(origin: string | undefined): Record<string, string> {
  if (origin === undefined || !isGyreOrigin(origin)) return {}
  const exposed = 'Accept-Ranges, Content-Encoding, Content-Length, Content-Range, ETag'
  return { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': exposed }
}
