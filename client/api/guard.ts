/**
 * Who may speak to the API at all: requests under this server's own names, not sent by a foreign web page. A browser on this machine
 * runs other people's pages; DNS rebinding gives them our address under their name (so Host is checked exactly), and a form or script
 * can send requests here (so Origin and Sec-Fetch-Site are). No CORS header is ever sent. The token is checked besides.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { utf8 } from '../../src/bytes/index.ts'
import { formatHostPort, type HostPort } from '../../src/config/index.ts'
import { equalSecret, sha256 } from '../../src/crypto/index.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'

/** Throws `HttpFailure` (403) for a foreign Host or Origin, else returns. */
export type Guard = (headers: IncomingHttpHeaders) => void

/** A guard for a server that listens at `bound`. */
export function guardFor(bound: HostPort): Guard {
  const names = new Set<string>()
  for (const host of [bound.host, 'localhost', '127.0.0.1', '::1']) {
    const name = formatHostPort({ host, port: bound.port }).toLowerCase()
    names.add(name)
    if (bound.port === 80) names.add(name.slice(0, -':80'.length))
  }
  return (headers) => {
    if (!names.has((headers.host ?? '').toLowerCase())) throw forbidden('The Host header names another server.')
    const { origin } = headers
    if (origin !== undefined && !(origin.startsWith('http://') && names.has(origin.slice('http://'.length).toLowerCase()))) {
      throw forbidden('The request was sent by a foreign web page.')
    }
    const site = headers['sec-fetch-site']
    if (site !== undefined && site !== 'same-origin' && site !== 'none')
      throw forbidden('The request was sent by a foreign web page.')
  }
}

function forbidden(message: string): HttpFailure {
  return new HttpFailure(403, new OverlayError('protocol', 'API_FORBIDDEN', message))
}

/** Tells whether an Authorization header carries `token`. Compares hashes, in constant time: neither length nor prefix shows. */
export function tokenCheck(token: string): (authorization: string | undefined) => boolean {
  const right = sha256(utf8(token))
  return (authorization) => {
    const sent = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(authorization ?? '')?.[1] ?? ''
    return equalSecret(sha256(utf8(sent)), right)
  }
}
