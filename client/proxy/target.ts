/**
 * What a request to the proxy is for: a pure function from request line and headers to a verdict. Only `http://ADDRESS.gyre/` passes,
 * spelled exactly: lower case, no user, no port but 80, no trailing dot, no sub-domain, so that one publication has one origin and no
 * second spelling of it slips by a rule. Everything else is refused here and never looked up (DESIGN P11). Spec: RFC 9112 §3.2.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'

/** A request that the proxy serves. */
export interface Target {
  /** 56 base32 characters; the checksum is checked by who opens it. */
  readonly address: string
  /** Begins with `/`; without the query, which a publication has no use for. */
  readonly path: string
}

const ABSOLUTE = /^http:\/\/([^/?#]*)([^?#]*)(?:\?[^#]*)?$/i
const AUTHORITY = /^([a-z2-7]{56})\.gyre(?::80)?$/

/** The publication that a request asks for. Throws `HttpFailure` with 400 (malformed) or 403 (everything that the proxy does not do). */
export function targetOf(method: string | undefined, url: string | undefined, headers: IncomingHttpHeaders): Target {
  const parts = ABSOLUTE.exec(url ?? '')
  if (parts === null) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(url ?? '')) throw refused('Only http:// addresses under .gyre are served, not other schemes.')
    throw refused('This is an HTTP proxy, not a web server: set it as the proxy for http:// in a browser or program.')
  }
  const authority = parts[1] ?? ''
  if (!looksLikeGyre(authority))
    throw refused('Only addresses under .gyre are served; this proxy never connects to the open internet.')
  const address = AUTHORITY.exec(authority)?.[1]
  if (address === undefined) {
    const takes = '56 lower-case letters a to z and digits 2 to 7, then .gyre, with no user, port or further dot'
    throw new HttpFailure(
      400,
      new OverlayError('protocol', 'ADDRESS_BAD', `The host name is not a Gyre address. One has ${takes}.`),
    )
  }
  if (method !== 'GET' && method !== 'HEAD') throw refused('Only GET and HEAD are served.')
  // RFC 9112 §3.2.2 lets the absolute form win; a client that says two things is refused instead, as nobody honest does.
  const host = headers.host?.toLowerCase()
  if (host !== `${address}.gyre` && host !== `${address}.gyre:80`)
    throw malformed('The Host header is missing or disagrees with the request target.')
  const { origin } = headers
  if (origin !== undefined && origin !== `http://${address}.gyre`)
    throw refused('The request was sent by a page of another origin.')
  const clock = headers['gyre-clock']
  if (clock !== undefined && clock !== 'swift') throw malformed('The header Gyre-Clock takes "swift" in this version.')
  return { address, path: parts[2] === '' ? '/' : (parts[2] ?? '/') }
}

/** Whether an authority is meant for this network, however badly spelled. */
function looksLikeGyre(authority: string): boolean {
  return /(?:^|[.@])gyre\.*(?::\d*)?$/i.test(authority)
}

function refused(message: string): HttpFailure {
  return new HttpFailure(403, new OverlayError('protocol', 'PROXY_REFUSED', message))
}

function malformed(message: string): HttpFailure {
  return new HttpFailure(400, new OverlayError('protocol', 'PROXY_BAD_REQUEST', message))
}
