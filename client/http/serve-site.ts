/**
 * Answers a GET or HEAD for a path of an opened site: the file there, its folder's `index.html`, a redirect to a folder, or the site's own 404
 * page. Spec: SPEC.md §12.5, RFC 9110. Conditions, ranges and bytes are `serve.ts`'s.
 *
 * A file that is stored compressed is one of two representations, with validators of their own: as stored, for who takes gzip, also in parts;
 * and decoded, for who does not. If-Modified-Since is not looked at: nothing has a date.
 */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import type { OpenedSite, SiteEntry } from '../library.ts'
import { acceptsGzip, decodedForm } from './coding.ts'
import { HttpFailure } from './failure.ts'
import { finished, type Served, type ServeOptions, serveFile } from './serve.ts'

/** Longest path of a request that is looked up: a path of an index with every byte encoded. */
const PATH_CHARS_MAX = 3 * 1024 + 16

const NOTHING = 'The site has nothing at this path.'
/** Folders are not listed: a publisher has not said that each of his files is to be found. */
const NO_INDEX =
  'The site has no page for this folder (index.html). Folders are not listed: what is in one is asked for by its path.'

export interface ServeSiteOptions extends Omit<ServeOptions, 'ranges' | 'status'> {
  /** What redirects begin with: where the face shows the site. Default: nothing, the site has an origin of its own. */
  readonly base?: string
}

interface SiteRequest {
  readonly method?: string | undefined
  /** For the query of a redirect. */
  readonly url?: string | undefined
  readonly headers: IncomingHttpHeaders
}

/**
 * Serves what is at `path`: as it stands in the request, percent-encoded, beginning with `/`, without query. Errors: those of `serveFile`;
 * `HttpFailure` 404 (nothing there, and no 404 page), 400 (no path), 405.
 */
export async function serveSite(
  site: OpenedSite,
  path: string,
  request: SiteRequest,
  response: ServerResponse,
  options: ServeSiteOptions,
): Promise<Served> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const error = new OverlayError('protocol', 'PROXY_REFUSED', 'A site is read with GET and HEAD, and takes nothing else.')
    throw new HttpFailure(405, error, { Allow: 'GET, HEAD' })
  }
  const decoded = decodePath(path)
  if (decoded === null) {
    throw new HttpFailure(400, new OverlayError('protocol', 'PROXY_BAD_REQUEST', 'The path of the request is malformed.'))
  }
  const found = site.lookUp(decoded)
  if (found.kind === 'redirect') {
    const query = /\?[^#]*/.exec(request.url ?? '')?.[0] ?? ''
    const location = `${options.base ?? ''}${encodePath(found.location)}${query}`
    response.writeHead(301, { ...options.headers, Location: location, 'Content-Length': '0' })
    await finished(response, options.signal)
    return { status: 301, bytes: 0 }
  }
  if (found.kind === 'entry') return serveEntry(found.entry, request, response, options)
  if (found.page !== null) return serveEntry(found.page, request, response, { ...options, status: 404 })
  throw new HttpFailure(404, new OverlayError('not-found', 'PATH_NOT_FOUND', decoded.endsWith('/') ? NO_INDEX : NOTHING))
}

async function serveEntry(
  entry: SiteEntry,
  request: SiteRequest,
  response: ServerResponse,
  options: ServeOptions,
): Promise<Served> {
  if (entry.encoding === 'identity') return serveFile(entry, request, response, options)
  const headers = { ...options.headers, Vary: varyWith(options.headers.Vary) }
  if (!acceptsGzip(request.headers['accept-encoding'])) {
    return serveFile(decodedForm(entry), request, response, { ...options, headers, ranges: false })
  }
  return serveFile(entry, request, response, { ...options, headers: { ...headers, 'Content-Encoding': 'gzip' } })
}

function varyWith(vary: string | undefined): string {
  return vary === undefined || vary === '' ? 'Accept-Encoding' : `${vary}, Accept-Encoding`
}

/**
 * Whether a request opens a page, rather than fetching what a page is made of: then the newest version of the site is looked up, else the
 * version of the page is taken (`Asking.pinned`). Browsers say so to secure origins only (Fetch metadata); otherwise a request that takes HTML
 * opens one, one that names the page that it comes from does not (so that a mirror by wget is of one version), and else its path decides.
 */
export function isPageRequest(path: string, headers: IncomingHttpHeaders): boolean {
  const destination = headers['sec-fetch-dest']
  if (destination !== undefined) return destination === 'document'
  if (/\btext\/html\b/i.test(headers.accept ?? '')) return true
  if (headers.referer !== undefined) return false
  const last = path.slice(path.lastIndexOf('/') + 1)
  return last === '' || /\.x?html?$/i.test(last) || !last.includes('.')
}

/** Whether a request asks for what is newest, as a browser's reload does (RFC 9111 §5.2.1). */
export function isReload(headers: IncomingHttpHeaders): boolean {
  return /\b(no-cache|max-age=0)\b/i.test(headers['cache-control'] ?? '') || /\bno-cache\b/i.test(headers.pragma ?? '')
}

/** The path that `path` spells, decoded once; `null` if it spells none. An encoded slash is no part's end: there is nothing under it. */
export function decodePath(path: string): string | null {
  if (!path.startsWith('/') || path.length > PATH_CHARS_MAX) return null
  try {
    // No path of an index holds a control character, so nothing is found under it.
    return decodeURIComponent(path.replaceAll(/%2f/gi, '%00'))
  } catch {
    return null
  }
}

/** `path` as it can stand in a Location header: printable ASCII. It begins with one slash, so it stays on its origin. */
function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}
