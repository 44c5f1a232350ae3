/**
 * SOCKS version 5 as bytes: greeting, credentials, request, reply (RFC 1928, RFC 1929), and Tor's RESOLVE (socks-extensions.txt). Parsers are
 * total: they want more, take a value, or refuse. `SocksHandshake` is the server's side of a handshake without I/O: bytes in, steps out.
 *
 * What another protocol says to this port is answered in its own words: SOCKS4 gets its refusal, HTTP a 400, and then the connection ends.
 */
import { concat, utf8 } from '../../src/bytes/index.ts'

/** RFC 1928 §6. */
export const SocksReply = {
  succeeded: 0,
  failed: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  refused: 5,
  expired: 6,
  commandUnsupported: 7,
  addressUnsupported: 8,
} as const
export type SocksReply = (typeof SocksReply)[keyof typeof SocksReply]

/** RFC 1928 §4; `resolve` is Tor's. */
export const SocksCommand = { connect: 1, resolve: 0xf0 } as const

const VERSION = 5
const AUTH_VERSION = 1
const METHOD_NONE = 0
const METHOD_PASSWORD = 2
const METHOD_UNACCEPTABLE = 0xff
const TYPE_IPV4 = 1
const TYPE_NAME = 3
const TYPE_IPV6 = 4

export type SocksDestination =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'ipv4' | 'ipv6'; readonly bytes: Uint8Array }

export interface SocksRequest {
  readonly command: number
  readonly destination: SocksDestination
  readonly port: number
}

/** What a parser says: wait for more bytes, a value that took `used` of them, or no. */
export type Parsed<T> =
  | { readonly kind: 'more' }
  | { readonly kind: 'value'; readonly value: T; readonly used: number }
  | { readonly kind: 'refused'; readonly reply: SocksReply }

const MORE = Object.freeze({ kind: 'more' })

function refuse(reply: SocksReply): { readonly kind: 'refused'; readonly reply: SocksReply } {
  return { kind: 'refused', reply }
}

/** VER, NMETHODS, METHODS. The value: the method that is taken. With credentials on offer they are asked for: they isolate. */
export function parseGreeting(bytes: Uint8Array): Parsed<number> {
  if (bytes.length >= 1 && bytes[0] !== VERSION) return refuse(SocksReply.failed)
  const count = bytes[1]
  if (count === undefined || bytes.length < 2 + count) return MORE
  const methods = bytes.subarray(2, 2 + count)
  const method = [METHOD_PASSWORD, METHOD_NONE].find((one) => methods.includes(one)) ?? METHOD_UNACCEPTABLE
  return { kind: 'value', value: method, used: 2 + count }
}

export interface SocksCredentials {
  readonly user: Uint8Array
  readonly password: Uint8Array
}

/** VER, ULEN, UNAME, PLEN, PASSWD. Both may be empty: some programs ask for this method and have neither. */
export function parseCredentials(bytes: Uint8Array): Parsed<SocksCredentials> {
  if (bytes.length >= 1 && bytes[0] !== AUTH_VERSION) return refuse(SocksReply.failed)
  const userBytes = bytes[1]
  if (userBytes === undefined) return MORE
  const passwordBytes = bytes[2 + userBytes]
  const used = 3 + userBytes + (passwordBytes ?? 0)
  if (passwordBytes === undefined || bytes.length < used) return MORE
  return { kind: 'value', value: { user: bytes.slice(2, 2 + userBytes), password: bytes.slice(3 + userBytes, used) }, used }
}

/** VER, CMD, RSV, ATYP, DST.ADDR, DST.PORT. */
export function parseRequest(bytes: Uint8Array): Parsed<SocksRequest> {
  if (bytes.length >= 1 && bytes[0] !== VERSION) return refuse(SocksReply.failed)
  if (bytes.length >= 3 && bytes[2] !== 0) return refuse(SocksReply.failed)
  const command = bytes[1]
  const type = bytes[3]
  if (command === undefined || type === undefined) return MORE
  const nameBytes = bytes[4]
  if (nameBytes === undefined)
    return type === TYPE_IPV4 || type === TYPE_NAME || type === TYPE_IPV6 ? MORE : refuse(SocksReply.addressUnsupported)
  const [from, length] = type === TYPE_IPV4 ? [4, 4] : type === TYPE_IPV6 ? [4, 16] : type === TYPE_NAME ? [5, nameBytes] : [0, 0]
  if (from === 0) return refuse(SocksReply.addressUnsupported)
  const to = from + length
  const [high, low] = [bytes[to], bytes[to + 1]]
  if (high === undefined || low === undefined) return MORE
  const raw = bytes.slice(from, to)
  const destination: SocksDestination =
    type === TYPE_NAME
      ? { type: 'name', name: String.fromCharCode(...raw) }
      : { type: type === TYPE_IPV4 ? 'ipv4' : 'ipv6', bytes: raw }
  return { kind: 'value', value: { command, destination, port: high * 256 + low }, used: to + 2 }
}

/** VER, REP, RSV, ATYP, BND.ADDR, BND.PORT. `address`: 4 bytes; nothing tells of this node's own. */
export function encodeReply(reply: SocksReply, address: Uint8Array = new Uint8Array(4)): Uint8Array {
  return concat(Uint8Array.of(VERSION, reply, 0, TYPE_IPV4), address, new Uint8Array(2))
}

/** What a handshake comes to with the bytes so far. `send`: bytes for the client, perhaps none. */
export type SocksStep =
  | { readonly kind: 'more'; readonly send: Uint8Array }
  /** The request; the client waits for `encodeReply`. `rest`: bytes that came behind it. */
  | {
      readonly kind: 'request'
      readonly send: Uint8Array
      readonly request: SocksRequest
      readonly credentials: SocksCredentials | null
      readonly rest: Uint8Array
    }
  /** Send this and close. */
  | { readonly kind: 'refused'; readonly send: Uint8Array }

const NOTHING = new Uint8Array()
/** SOCKS 4: request rejected or failed. */
const SOCKS4_REFUSED = Uint8Array.of(0, 0x5b, 0, 0, 0, 0, 0, 0)
const HTTP_TEXT = 'This is the SOCKS5 port of a Gyre node. Its HTTP proxy listens on another port.\n'
const HTTP_REFUSED = utf8(
  `HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: ${HTTP_TEXT.length}\r\n\r\n${HTTP_TEXT}`,
)

/** The server's side of one handshake. Holds at most what one message can be, and what came behind it at once. */
export class SocksHandshake {
  #stage: 'greeting' | 'credentials' | 'request' | 'over' = 'greeting'
  #held: Uint8Array = NOTHING
  #credentials: SocksCredentials | null = null

  /** Takes further bytes of the client. After `request` or `refused` no more. */
  feed(bytes: Uint8Array): SocksStep {
    this.#held = this.#held.length === 0 ? bytes.slice() : concat(this.#held, bytes)
    let send: Uint8Array = NOTHING
    for (;;) {
      if (this.#stage === 'greeting') {
        const greeting = parseGreeting(this.#held)
        if (greeting.kind === 'more') return { kind: 'more', send }
        if (greeting.kind === 'refused') return this.#refuse(strangers(this.#held[0] ?? 0))
        this.#consume(greeting.used)
        const method = greeting.value
        send = concat(send, Uint8Array.of(VERSION, method))
        if (method === METHOD_UNACCEPTABLE) return this.#refuse(send)
        this.#stage = method === METHOD_PASSWORD ? 'credentials' : 'request'
      } else if (this.#stage === 'credentials') {
        const credentials = parseCredentials(this.#held)
        if (credentials.kind === 'more') return { kind: 'more', send }
        if (credentials.kind === 'refused') return this.#refuse(concat(send, Uint8Array.of(AUTH_VERSION, 1)))
        this.#consume(credentials.used)
        this.#credentials = credentials.value
        send = concat(send, Uint8Array.of(AUTH_VERSION, 0))
        this.#stage = 'request'
      } else if (this.#stage === 'request') {
        const request = parseRequest(this.#held)
        if (request.kind === 'more') return { kind: 'more', send }
        if (request.kind === 'refused') return this.#refuse(concat(send, encodeReply(request.reply)))
        this.#consume(request.used)
        const rest = this.#held
        this.#end()
        return { kind: 'request', send, request: request.value, credentials: this.#credentials, rest }
      } else return { kind: 'refused', send }
    }
  }

  #consume(used: number): void {
    this.#held = this.#held.subarray(used)
  }

  #refuse(send: Uint8Array): SocksStep {
    this.#end()
    return { kind: 'refused', send }
  }

  #end(): void {
    this.#stage = 'over'
    this.#held = NOTHING
  }
}

/** What to say to who speaks another protocol, by its first byte. */
function strangers(first: number): Uint8Array {
  if (first === 4) return SOCKS4_REFUSED
  return first >= 0x41 && first <= 0x5a ? HTTP_REFUSED : NOTHING
}
