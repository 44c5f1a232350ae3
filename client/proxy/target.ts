/**
 * What a request to a proxy is for: pure functions from request line and headers to a verdict. Only `ADDRESS.gyre` and `NAME.gyre` pass,
 * spelled exactly: lower case, no user, no trailing dot, no sub-domain, no escapes, so that one key has one web origin and no second
 * spelling of it slips by a rule. Everything else is refused here and never looked up (DESIGN P11). Spec: RFC 9112 §3.2.
 *
 * A label of 56 characters of base32 is an address, whatever the book of names says; names have at most 55, so that none can look like one.
 * Labels of the form `??--*` are refused: `xn--…` is shown by browsers as letters of other scripts that look like these.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'

/** A host of this network, well spelled. Whether there is such a thing is for others to find out. */
export interface GyreHost {
  /** `LABEL.gyre`. */
  readonly name: string
  /** 56 characters of an address (its checksum is checked by who opens it), or a petname of 1 to 55. */
  readonly label: string
  readonly isAddress: boolean
}

/** A host and a port, 1 to 65535. */
export interface HostTarget {
  readonly host: GyreHost
  readonly port: number
}

/** What an HTTP request asks for. */
export interface Target extends HostTarget {
  /** Path and query as sent: printable ASCII, beginning with `/`; `*` for `OPTIONS *`. */
  readonly path: string
}

export const HTTP_PORT = 80

const ADDRESS_LABEL = /^[a-z2-7]{56}$/
const NAME_LABEL = /^(?!..--)[a-z0-9](?:[a-z0-9-]{0,53}[a-z0-9])?$/
const DOMAIN = '.gyre'
const ABSOLUTE = /^http:\/\/([^/?#]*)([^?#]*)(\?[^#]*)?$/i
/** No scheme that we know, no host that anybody has, is longer. */
const AUTHORITY_CHARS_MAX = 128

/** The host that `text` spells, or `null`. */
export function hostOf(text: string): GyreHost | null {
  if (text.length > AUTHORITY_CHARS_MAX || !text.endsWith(DOMAIN)) return null
  const label = text.slice(0, -DOMAIN.length)
  if (ADDRESS_LABEL.test(label)) return { name: text, label, isAddress: true }
  return NAME_LABEL.test(label) ? { name: text, label, isAddress: false } : null
}

/** Whether an authority is meant for this network, however badly spelled. */
export function looksLikeGyre(authority: string): boolean {
  return authority.length <= AUTHORITY_CHARS_MAX && /(?:^|[.@])gyre\.*(?::\d*)?$/i.test(authority)
}

/** Host and port of an authority. Throws `HttpFailure`: 403 for what is not of this network, 400 for what is badly spelled. */
export function authorityOf(authority: string, fallbackPort: number | null): HostTarget {
  if (!looksLikeGyre(authority))
    throw refused('Only addresses and names under .gyre are served; this proxy never connects to the open internet.')
  const parts = /^([a-z0-9-]+\.gyre)(?::([1-9]\d{0,4}))?$/.exec(authority)
  const host = hostOf(parts?.[1] ?? '')
  const port = parts?.[2] === undefined ? fallbackPort : Number(parts[2])
  if (host === null || port === null || port > 65_535) {
    const takes = '56 lower-case letters a to z and digits 2 to 7, then .gyre; a name of your own has lower-case letters, digits'
    const rest = 'and hyphens. Nothing else stands before or after it, but a port from 1 to 65535'
    throw new HttpFailure(
      400,
      new OverlayError('protocol', 'ADDRESS_BAD', `The host is not a Gyre address. One has ${takes} ${rest}.`),
    )
  }
  return { host, port }
}

/** What a request in absolute form asks for. Throws `HttpFailure` with 400 (malformed) or 403 (what the proxy does not do). */
export function targetOf(method: string | undefined, url: string | undefined, headers: IncomingHttpHeaders): Target {
  const parts = ABSOLUTE.exec(url ?? '')
  if (parts === null) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(url ?? '')) throw refused('Only http:// addresses under .gyre are served, not other schemes.')
    throw refused('This is an HTTP proxy, not a web server: set it as the proxy for http:// in a browser or program.')
  }
  const { host, port } = authorityOf(parts[1] ?? '', HTTP_PORT)
  const path = `${parts[2] ?? ''}${parts[3] ?? ''}`
  checkHeaders({ host, port }, headers)
  if (path === '') return { host, port, path: method === 'OPTIONS' ? '*' : '/' } // RFC 9112 §3.2.4
  return { host, port, path: checkedPath(path.startsWith('?') ? `/${path}` : path) }
}

/** The same for a request in origin form on a connection that was opened to `at`: then the proxy is the web server. */
export function originTargetOf(at: HostTarget, url: string | undefined, headers: IncomingHttpHeaders): Target {
  if (url?.startsWith('/') !== true) throw malformed('The request target is not a path.')
  checkHeaders(at, headers)
  return { ...at, path: checkedPath(url) }
}

function checkedPath(path: string): string {
  if (/^[\x21-\x22\x24-\x7e]*$/.test(path)) return path
  throw malformed('The request target has characters that must be percent-encoded.')
}

function checkHeaders(at: HostTarget, headers: IncomingHttpHeaders): void {
  // RFC 9112 §3.2.2 lets the absolute form win; a client that says two things is refused instead, as nobody honest does.
  const { host, origin } = headers
  if (host !== hostHeader(at) && host !== `${at.host.name}:${at.port}`)
    throw malformed('The Host header is missing or disagrees with the request target.')
  // Pages of other sites of this network may load and send (CORS is theirs to say); pages of the open internet may not.
  const web = origin === undefined ? null : /^https?:\/\/(.*)$/i.exec(origin)
  if (web !== null && !isGyreOrigin(origin ?? '')) throw refused('The request was sent by a page of the open internet.')
}

/** Whether an Origin header names a web origin of this network. */
export function isGyreOrigin(origin: string): boolean {
  const parts = /^https?:\/\/([a-z0-9-]+\.gyre)(?::\d{1,5})?$/.exec(origin)
  return parts !== null && hostOf(parts[1] ?? '') !== null
}

/** The Host header for `at`: without the default port. */
export function hostHeader({ host, port }: HostTarget): string {
  return port === HTTP_PORT ? host.name : `${host.name}:${port}`
}

function refused(message: string): HttpFailure {
  return new HttpFailure(403, new OverlayError('protocol', 'PROXY_REFUSED', message))
}

export function malformed(message: string): HttpFailure {
  return new HttpFailure(400, new OverlayError('protocol', 'PROXY_BAD_REQUEST', message))
}
