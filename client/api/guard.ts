/**
 * Who may speak to the API at all: requests under this server's own names, not sent by a foreign web page. A browser on this machine
 * runs other people's pages; DNS rebinding gives them our address under their name (so Host is checked exactly), and a form or script
 * can send requests here (so Origin and Sec-Fetch-Site are). No CORS header is ever sent. The token is checked besides.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { type ApiAt, formatHostPort, type HostPort } from '../../src/config/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'

/** Throws `HttpFailure` (403) for a foreign Host or Origin, or a request target of another server, else returns. */
export type Guard = (headers: IncomingHttpHeaders, target: string) => void

/** A guard for a server that listens at `bound`. At a socket file, which no web page can reach, the server is called localhost. */
export function guardFor(bound: ApiAt): Guard {
  const names = 'path' in bound ? new Set(['localhost']) : namesOf(bound)
  return (headers, target) => {
    if (!names.has((headers.host ?? '').toLowerCase())) throw forbidden('The Host header names another server.')
    // In absolute form the target says who is meant, whatever Host says (RFC 9112 §3.2.2): a program takes the API for a proxy.
    const meant = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(target)?.[1]
    if (meant !== undefined && !names.has(meant.toLowerCase())) throw forbidden('The request target names another server.')
    const { origin } = headers
    if (origin !== undefined && !(origin.startsWith('http://') && names.has(origin.slice('http://'.length).toLowerCase()))) {
      throw forbidden('The request was sent by a foreign web page.')
    }
    const site = headers['sec-fetch-site']
    if (site !== undefined && site !== 'same-origin' && site !== 'none')
      throw forbidden('The request was sent by a foreign web page.')
  }
}

function namesOf({ host: own, port }: HostPort): ReadonlySet<string> {
  const names = new Set<string>()
  for (const host of [own, 'localhost', '127.0.0.1', '::1']) {
    const name = formatHostPort({ host, port }).toLowerCase()
    names.add(name)
    if (port === 80) names.add(name.slice(0, -':80'.length))
  }
  return names
}

function forbidden(message: string): HttpFailure {
  return new HttpFailure(403, new OverlayError('protocol', 'API_FORBIDDEN', message))
}
