/**
 * Parsers of single configuration values: sizes, `host:port` pairs, multiaddr texts, names. Total: each takes what a TOML file, the
 * environment or a flag can hold, and gives the value or throws a `Refused` that says which values it takes. Nothing is looked up
 * here: a host name in a configuration never causes a DNS query at parse time.
 */

/** What a parser throws; `schema.ts` adds the key and the place that it came from. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/** Where a face listens. Port 0: the system chooses one. */
export interface HostPort {
  /** An IP literal (v6 without brackets) or `localhost`. */
  readonly host: string
  readonly port: number
}

/** Where the API listens: HOST:PORT, or a socket file of this machine. */
export type ApiAt = HostPort | { readonly path: string }

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
}

/** Bytes of `10GiB`, `500 MB`, `65536` or a whole number. */
export function parseBytes(value: unknown): number {
  const takes = 'a size such as 10GiB, 500MB or 65536 (units B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)'
  if (typeof value !== 'string' && typeof value !== 'number') throw new Refused(takes)
  const parts = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})$/.exec(String(value).trim())
  const unit = parts?.[2] === undefined ? undefined : SIZE_UNITS[parts[2]]
  if (parts === null || unit === undefined) throw new Refused(takes)
  const bytes = Math.floor(Number(parts[1]) * unit)
  if (!Number.isSafeInteger(bytes)) throw new Refused(takes)
  return bytes
}

const BIT_UNITS: Readonly<Record<string, number>> = { kbit: 1e3, Mbit: 1e6, Gbit: 1e9 }
const BITS_LEAST = 2e6
const BITS_MOST = 100e9

/** Bits a second of `200Mbit`, `1.5 Gbit`; from 2 Mbit to 100 Gbit. */
export function parseBitRate(value: unknown): number {
  const parts = /^(\d{1,9}(?:\.\d{1,3})?) ?(kbit|Mbit|Gbit)$/.exec(typeof value === 'string' ? value.trim() : '')
  const bits = parts === null ? 0 : Number(parts[1]) * BIT_UNITS[parts[2]!]!
  if (bits >= BITS_LEAST && bits <= BITS_MOST) return bits
  throw new Refused('a rate such as 200Mbit (units kbit, Mbit, Gbit; a second), from 2Mbit to 100Gbit')
}

/** A whole number from `least` to `most`, also as text. */
export function parseWhole(least: number, most: number): (value: unknown) => number {
  return (value) => {
    const number = typeof value === 'string' && /^\d{1,9}$/.test(value.trim()) ? Number(value) : value
    if (typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most) return number
    throw new Refused(`a whole number from ${least} to ${most}`)
  }
}

/** The same, or `word`, which gives `null`. */
export function parseWholeOr(word: string, least: number, most: number): (value: unknown) => number | null {
  const whole = parseWhole(least, most)
  return (value) => {
    if (value === word) return null
    try {
      return whole(value)
    } catch (error) {
      throw error instanceof Refused ? new Refused(`"${word}", or ${error.message}`) : error
    }
  }
}

/** One of `allowed`, exactly as written there. */
export function parseOneOf<const T extends string>(allowed: readonly T[]): (value: unknown) => T {
  return (value) => {
    const found = allowed.find((one) => one === value)
    if (found === undefined) throw new Refused(allowed.map((one) => `"${one}"`).join(', '))
    return found
  }
}

/** 1 to 64 letters, digits, dots, dashes and underscores. */
export function parseNetworkName(value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)) return value
  throw new Refused('1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit')
}

/** `127.0.0.1:9770`, `[::1]:9770` or `localhost:9770`. */
export function parseHostPort(value: unknown): HostPort {
  const takes = 'HOST:PORT such as 127.0.0.1:9770, [::1]:9770 or localhost:9770 (port 0: any free one)'
  if (typeof value !== 'string') throw new Refused(takes)
  const parts = /^(?:(\d{1,3}(?:\.\d{1,3}){3}|localhost)|\[([0-9A-Fa-f:.]{2,45})\]):(\d{1,5})$/.exec(value.trim())
  if (parts === null) throw new Refused(takes)
  const host = parts[1] ?? parts[2] ?? ''
  const port = Number(parts[3])
  if (port > 65535 || (/^\d/.test(host) && parts[1] !== undefined && !isIpv4(host))) throw new Refused(takes)
  if (parts[2] !== undefined && !isIpv6(parts[2])) throw new Refused(takes)
  return Object.freeze({ host, port })
}

/** `HOST:PORT`, or `unix:PATH` for a socket file. */
export function parseApiAt(value: unknown): ApiAt {
  if (typeof value !== 'string' || !value.startsWith('unix:')) {
    try {
      return parseHostPort(value)
    } catch (error) {
      throw error instanceof Refused ? new Refused(`${error.message}, or unix:PATH`) : error
    }
  }
  return Object.freeze({ path: parsePath(value.slice('unix:'.length)) })
}

/** As `parseApiAt` takes it. */
export function formatApiAt(at: ApiAt): string {
  return 'path' in at ? `unix:${at.path}` : formatHostPort(at)
}

/** `host:port` as it stands in a URL. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function isIpv4(text: string): boolean {
  return text.split('.').every((part) => Number(part) <= 255)
}

function isIpv6(text: string): boolean {
  return URL.canParse(`http://[${text}]/`)
}

const LISTEN = /^\/(?:ip4\/[\d.]{7,15}|ip6\/[0-9A-Fa-f:.]{2,45})\/tcp\/\d{1,5}(?:\/(?:tls|ws|wss))*$/
const DIALLED =
  /^\/(?:ip4\/[\d.]{7,15}|ip6\/[0-9A-Fa-f:.]{2,45}|dns[46]?\/[A-Za-z0-9._-]{1,253})\/tcp\/\d{1,5}(?:\/(?:tls|ws|wss))*\/p2p\/[A-Za-z0-9]{30,80}$/
/** Longest multiaddr text taken. */
const MULTIADDR_CHARS_MAX = 400

/** A multiaddr to listen on, without /p2p. The link layer parses it in full. */
export function parseListenAddress(value: unknown): string {
  if (typeof value === 'string' && value.length <= MULTIADDR_CHARS_MAX && LISTEN.test(value)) return value
  throw new Refused('multiaddrs such as /ip4/127.0.0.1/tcp/9740 or /ip4/0.0.0.0/tcp/9741/ws')
}

/** A multiaddr to dial, with the /p2p part that says whom to expect there. */
export function parseDialAddress(value: unknown): string {
  if (typeof value === 'string' && value.length <= MULTIADDR_CHARS_MAX && DIALLED.test(value)) return value
  throw new Refused('multiaddrs with their /p2p part, such as /ip4/192.0.2.7/tcp/9740/p2p/12D3KooW…, or file:PATH')
}

/** A multiaddr to dial, or `file:PATH` of a file that holds such addresses, one a line, and may appear later. */
export function parseBootstrap(value: unknown): string {
  if (typeof value === 'string' && /^file:[^\0\n]{1,1024}$/.test(value)) return value
  return parseDialAddress(value)
}

/** A path of a folder or file, not empty. */
export function parsePath(value: unknown): string {
  if (typeof value === 'string' && value !== '' && value.length <= 1024 && !value.includes('\0')) return value
  throw new Refused('a path of 1 to 1024 characters')
}

/** A list of at most `most` of what `one` takes; from text, separated by commas or white space. */
export function parseList<T>(one: (value: unknown) => T, most: number): (value: unknown) => readonly T[] {
  return (value) => {
    const parts: readonly unknown[] =
      typeof value === 'string' ? value.split(/[\s,]+/).filter((part) => part !== '') : asList(value)
    if (parts.length > most) throw new Refused(`at most ${most} entries`)
    return Object.freeze(parts.map(one))
  }
}

function asList(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw new Refused('a list of texts')
}
