/**
 * Headers on their way between a client and a live service: pure functions over Node's raw lists (name, value, name, value, …), which keep
 * order and repetition. Both ways the hop-by-hop ones go (RFC 9110 §7.6.1), and all that proxies are known to add about who asks; nothing
 * that tells one node from another is added. Framing headers are written anew by who forwards the body, never passed on.
 *
 * A user's petnames stay with the user: what a service hears is always its address, in Host, Origin and Referer, and what it answers with
 * its address is turned back. A Referer of another host is dropped: where somebody was before is nobody's business.
 *
 * Answers lose what would make a browser ask others than this proxy: alternative services, reports of errors and of policies, early
 * look-ups and connections. A policy is added that lets pages load from this network only; browsers obey all policies that they are
 * given, so that it can only forbid, never allow, whatever the service says itself. A Set-Cookie for another domain than the host is
 * dropped, for clients that know no list of public suffixes.
 */
import { OverlayError } from '../../src/errors/index.ts'
import { HttpFailure } from '../http/index.ts'
import { type GyreHost, hostHeader, hostOf, isGyreOrigin, malformed } from './target.ts'

// Implementation constants.
/** More than this in one request or answer is refused; their bytes are bounded besides. */
export const HEADER_COUNT_MAX = 128

const HOP_BY_HOP =
  /^(?:connection|keep-alive|te|trailer|transfer-encoding|upgrade|http2-settings|proxy-.*|max-forwards|content-length|expect)$/
const IDENTIFYING =
  /^(?:via|forwarded|x-forwarded(?:-.*)?|x-real-ip|x-(?:client|cluster-client|originating|remote|proxyuser)-ip|x-remote-addr|(?:true-)?client-ip|cf-connecting-ip|gyre-.*)$/
/** What asks a browser to speak to others, in an answer. */
const REPORTING =
  /^(?:alt-svc|report-to|reporting-endpoints|nel|content-security-policy-report-only|expect-ct|public-key-pins(?:-report-only)?)$/
/** A client that repeats one of these means to be understood differently by two readers. */
const SINGLE = new Set(['host', 'content-length', 'transfer-encoding', 'origin', 'referer', 'expect', 'proxy-authorization'])

/** The policy that is added to what services send: load from anywhere in this network, from nowhere else. */
export const NETWORK_ONLY_POLICY = [
  "default-src 'self' http://*.gyre:* https://*.gyre:* ws://*.gyre:* wss://*.gyre:* 'unsafe-inline' 'unsafe-eval' data: blob:",
  "form-action 'self' http://*.gyre:* https://*.gyre:*",
  "webrtc 'block'",
].join('; ')

/** Where a request goes, as its client spells it and as the service is to hear it. */
export interface Spelling {
  readonly host: GyreHost
  readonly port: number
  /** 56 characters. */
  readonly address: string
  /** The address of a petname, or `null`. */
  readonly find: (name: string) => string | null
}

type Pair = readonly [name: string, value: string]

/** Throws `HttpFailure` for headers that no honest client sends: 431 for too many, 400 for repeated ones and codings that we do not know. */
export function checkRequestHeaders(raw: readonly string[]): void {
  if (raw.length > 2 * HEADER_COUNT_MAX)
    throw new HttpFailure(431, new OverlayError('protocol', 'PROXY_BAD_REQUEST', 'The request has too many headers.'))
  const seen = new Set<string>()
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase()
    if (SINGLE.has(lower) && seen.has(lower)) throw malformed('A header that stands for one thing is there twice.')
    if (lower === 'transfer-encoding' && value.trim().toLowerCase() !== 'chunked')
      throw malformed('No transfer coding but "chunked" is known.')
    seen.add(lower)
  }
}

/** What the service is sent, without framing and Connection. */
export function requestHeaders(raw: readonly string[], spelling: Spelling): string[] {
  const listed = listedIn(raw)
  const shown = `http://${hostHeader(spelling)}`
  const real = `http://${realHost(spelling)}`
  const out = ['Host', realHost(spelling)]
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase()
    if (lower === 'host' || isHop(lower, listed)) continue
    if (lower === 'origin') out.push(name, realOrigin(value, spelling))
    else if (lower === 'referer' || lower === 'destination') {
      const moved = withPrefix(value, shown, real)
      if (moved !== null) out.push(name, moved)
    } else out.push(name, value)
  }
  return out
}

/** What the client is sent of an answer, without framing and Connection. `origin`: the client's Origin header, if it sent one. */
export function responseHeaders(raw: readonly string[], spelling: Spelling, origin: string | undefined): string[] {
  const listed = listedIn(raw)
  const shown = `http://${hostHeader(spelling)}`
  const real = `http://${realHost(spelling)}`
  const out: string[] = []
  let referrer = 'same-origin'
  for (const [name, value] of pairs(raw)) {
    const lower = name.toLowerCase()
    if (isHop(lower, listed) || REPORTING.test(lower) || lower === 'x-dns-prefetch-control') continue
    if (lower === 'referrer-policy') {
      if (/^\s*no-referrer\s*$/i.test(value)) referrer = 'no-referrer'
    } else if (lower === 'link' && /preconnect|dns-prefetch/i.test(value)) continue
    else if (lower === 'location' || lower === 'content-location') out.push(name, withPrefix(value, real, shown) ?? value)
    else if (lower === 'access-control-allow-origin' && origin !== undefined && value.trim() === realOrigin(origin, spelling))
      out.push(name, origin)
    else if (lower === 'content-security-policy') out.push(name, withoutReports(value))
    else if (lower === 'set-cookie') {
      const cookie = hostOnlyCookie(value, [spelling.host.name, `${spelling.address}.gyre`])
      if (cookie !== null) out.push(name, cookie)
    } else out.push(name, value)
  }
  out.push('Content-Security-Policy', NETWORK_ONLY_POLICY, 'Referrer-Policy', referrer, 'X-DNS-Prefetch-Control', 'off')
  return out
}

function* pairs(raw: readonly string[]): Generator<Pair> {
  for (let at = 0; at + 1 < raw.length; at += 2) yield [raw[at] ?? '', raw[at + 1] ?? '']
}

function isHop(lower: string, listed: ReadonlySet<string>): boolean {
  return HOP_BY_HOP.test(lower) || IDENTIFYING.test(lower) || listed.has(lower)
}

/** Headers that a Connection header names: they are for this hop alone. */
function listedIn(raw: readonly string[]): ReadonlySet<string> {
  const listed = new Set<string>()
  for (const [name, value] of pairs(raw)) {
    if (!/^(?:proxy-)?connection$/i.test(name)) continue
    for (const one of value.split(',')) listed.add(one.trim().toLowerCase())
  }
  return listed
}

function realHost({ address, port }: Spelling): string {
  return hostHeader({ host: { name: `${address}.gyre`, label: address, isAddress: true }, port })
}

/** An Origin with the address in place of a petname; for what is no origin of this network, `null` as browsers spell it. */
function realOrigin(origin: string, { find }: Spelling): string {
  if (!isGyreOrigin(origin)) return 'null'
  const parts = /^(https?:\/\/)([^:/]*)(.*)$/.exec(origin)
  const host = hostOf(parts?.[2] ?? '')
  if (parts === null || host === null || host.isAddress) return origin
  const address = find(host.label)
  return address === null ? 'null' : `${parts[1]}${address}.gyre${parts[3]}`
}

/** `url` with `from` at its front replaced by `to`, or `null` when it is not of that origin. */
function withPrefix(url: string, from: string, to: string): string | null {
  const rest = url.startsWith(from) ? url.slice(from.length) : null
  return rest !== null && /^(?:[/?#]|$)/.test(rest) ? `${to}${rest}` : null
}

/** A policy without the places that it sends reports to. */
function withoutReports(policies: string): string {
  const one = (policy: string) =>
    policy
      .split(';')
      .filter((directive) => !/^\s*report-(?:uri|to)\b/i.test(directive))
      .join(';')
  return policies.split(',').map(one).join(',')
}

/** The cookie for its very host, or `null` if it is meant for another: a cookie of one site never reaches another (RFC 6265 §5.3). */
function hostOnlyCookie(value: string, hosts: readonly string[]): string | null {
  const [pair = '', ...attributes] = value.split(';')
  const isDomain = (attribute: string) => /^\s*domain\s*(?:=|$)/i.test(attribute)
  for (const attribute of attributes.filter(isDomain)) {
    const domain = attribute
      .slice(attribute.indexOf('=') + 1)
      .trim()
      .toLowerCase()
      .replace(/^\./, '')
    if (attribute.includes('=') && domain !== '' && !hosts.includes(domain)) return null
  }
  return [pair, ...attributes.filter((attribute) => !isDomain(attribute))].join(';')
}
