/** The SOCKS5 proxy: its bytes against a naive reading of RFC 1928, and a running one before sites, live services and strangers. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import type { FaceServer } from '../../client/api/index.ts'
import { type ProxyServer, startProxy, startSocks } from '../../client/proxy/index.ts'
import {
  encodeReply,
  parseCredentials,
  parseGreeting,
  parseRequest,
  SocksHandshake,
  SocksReply,
} from '../../client/proxy/socks-codec.ts'
import { isVirtual, VIRTUAL_ADDRESSES_MAX, VirtualAddresses } from '../../client/proxy/virtual-addresses.ts'
import { concat, utf8 } from '../../src/bytes/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { OverlayError } from '../../src/errors/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { FakeFace } from '../support/fake-face.ts'
import { FakeLive, fakeSite } from '../support/fake-live.ts'
import { askRaw } from '../support/http.ts'
import { eventually } from '../support/processes.ts'

const LIVE = formatKeyAddress(new Uint8Array(32).fill(5))
const SITE = formatKeyAddress(new Uint8Array(32).fill(6))

let face: FakeFace
let live: FakeLive
let proxy: ProxyServer
let socks: FaceServer
const echo = createTcpServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket).on('error', () => {}))

before(async () => {
  face = new FakeFace()
  const parts = { clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 } }
  proxy = await startProxy({ ...parts, face })
  socks = await startSocks({ ...parts, gate: proxy.gate })
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
})
after(async () => {
  await socks.close()
  await proxy.close()
  echo.close()
})
beforeEach(() => {
  live = new FakeLive({ 22: (echo.address() as AddressInfo).port })
  face.keys.set(LIVE, { kind: 'key', live, site: null })
  face.keys.set(SITE, { kind: 'key', live: null, site: async () => fakeSite({ 'index.html': '<p>home' }) })
})

const GREETING = Uint8Array.of(5, 1, 0)

function toName(name: string, port: number, command = 1): Uint8Array {
  return concat(Uint8Array.of(5, command, 0, 3, name.length), utf8(name), Uint8Array.of(port >> 8, port & 255))
}

function toIp(address: readonly number[], port: number, command = 1): Uint8Array {
  return Uint8Array.of(5, command, 0, address.length === 4 ? 1 : 4, ...address, port >> 8, port & 255)
}

function credentials(user: string, password: string): Uint8Array {
  return concat(Uint8Array.of(1, user.length), utf8(user), Uint8Array.of(password.length), utf8(password))
}

/** Sends `bytes` at once; what comes back until the end, as bytes. */
async function say(...bytes: readonly Uint8Array[]): Promise<Uint8Array> {
  return Buffer.from(await askRaw(socks.at, concat(...bytes), 2_000), 'latin1')
}

/** The reply code to `request` after a greeting. */
async function replyTo(request: Uint8Array): Promise<number> {
  const answer = await say(GREETING, request)
  assert.deepEqual([...answer.subarray(0, 2)], [5, 0])
  assert.equal(answer[2], 5)
  return answer[3]!
}

test('the parsers want more for every cut, take the whole, and leave what is behind it', () => {
  const cases = [
    [parseGreeting, Uint8Array.of(5, 3, 1, 0, 2), 2],
    [parseGreeting, Uint8Array.of(5, 1, 1), 0xff],
    [parseGreeting, Uint8Array.of(5, 0), 0xff],
    [parseCredentials, credentials('anna', 'secret'), { user: utf8('anna'), password: utf8('secret') }],
    [parseCredentials, credentials('', ''), { user: utf8(''), password: utf8('') }],
    [parseRequest, toName('a.gyre', 8080), { command: 1, port: 8080, destination: { type: 'name', name: 'a.gyre' } }],
    [parseRequest, toName('', 1), { command: 1, port: 1, destination: { type: 'name', name: '' } }],
    [
      parseRequest,
      toIp([198, 18, 0, 1], 80, 0xf0),
      { command: 0xf0, port: 80, destination: { type: 'ipv4', bytes: Uint8Array.of(198, 18, 0, 1) } },
    ],
    [
      parseRequest,
      toIp(Array(16).fill(1), 80),
      { command: 1, port: 80, destination: { type: 'ipv6', bytes: new Uint8Array(16).fill(1) } },
    ],
  ] as const
  for (const [parse, bytes, value] of cases) {
    for (let cut = 0; cut < bytes.length; cut++) assert.equal(parse(bytes.subarray(0, cut)).kind, 'more')
    const whole = parse(concat(bytes, Uint8Array.of(9, 9)))
    assert.ok(whole.kind === 'value')
    assert.deepEqual([whole.value, whole.used], [value, bytes.length])
  }
  for (const bytes of [[4], [6, 1, 0], [0x16, 3, 1]]) assert.equal(parseGreeting(Uint8Array.from(bytes)).kind, 'refused')
  for (const bytes of [[0], [5, 1, 97]]) assert.equal(parseCredentials(Uint8Array.from(bytes)).kind, 'refused')
  for (const bytes of [
    [4, 1],
    [5, 1, 1],
    [5, 1, 0, 2],
    [5, 1, 0, 0, 1],
  ])
    assert.equal(parseRequest(Uint8Array.from(bytes)).kind, 'refused')
})

test('a handshake comes to the same, byte by byte and at once', () => {
  const bytes = concat(Uint8Array.of(5, 2, 0, 2), credentials('anna', 'x'), toName('a.gyre', 80), utf8('GET /'))
  const atOnce = new SocksHandshake().feed(bytes)
  assert.ok(atOnce.kind === 'request')
  assert.deepEqual([...atOnce.send], [5, 2, 1, 0])
  assert.equal(Buffer.from(atOnce.rest).toString(), 'GET /')
  const slow = new SocksHandshake()
  const sent: number[] = []
  for (const [at, byte] of bytes.entries()) {
    const step = slow.feed(Uint8Array.of(byte))
    sent.push(...step.send)
    if (step.kind !== 'request') continue
    assert.deepEqual([step.request, step.credentials, at], [atOnce.request, atOnce.credentials, bytes.length - 6])
    break
  }
  assert.deepEqual(sent, [...atOnce.send])
  assert.equal(slow.feed(utf8('more')).kind, 'refused')
})

test('virtual addresses: one a name and isolation, known to that isolation alone, bounded, not soon given again', () => {
  const addresses = new VirtualAddresses()
  const first = addresses.assign('', 'a.gyre')
  assert.deepEqual(first, addresses.assign('', 'a.gyre'))
  const other = addresses.assign('x', 'a.gyre')
  assert.notDeepEqual(first, other)
  assert.deepEqual(
    [addresses.find('', first), addresses.find('x', first), addresses.find('x', other)],
    ['a.gyre', null, 'a.gyre'],
  )
  const seen = new Set<string>()
  for (let at = 0; at < 2 * VIRTUAL_ADDRESSES_MAX; at++) {
    const address = addresses.assign('', `n${at}.gyre`)
    assert.ok(isVirtual(address))
    seen.add(address.join('.'))
    if (at % 1000 === 0) addresses.find('x', other) // used again and again: it stays
  }
  assert.equal(seen.size, 2 * VIRTUAL_ADDRESSES_MAX)
  assert.equal(addresses.size, VIRTUAL_ADDRESSES_MAX)
  assert.equal(addresses.find('', first), null)
  assert.equal(addresses.find('x', other), 'a.gyre')
  for (const bytes of [
    [198, 17, 255, 255],
    [198, 20, 0, 0],
    [127, 0, 0, 1],
    [198, 18, 0],
  ]) {
    assert.equal(isVirtual(Uint8Array.from(bytes)), false)
    assert.equal(addresses.find('', Uint8Array.from(bytes)), null)
  }
  assert.ok(isVirtual(Uint8Array.of(198, 19, 255, 255)))
})

test('CONNECT to a live service by name: bytes both ways, sent at once, with half-close', async () => {
  const bytes = randomBytes(1_000_000)
  const got: Buffer[] = []
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const socket = connect({ port: socks.at.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('data', (chunk) => got.push(chunk)).on('end', () => resolve(Buffer.concat(got)))
  socket.end(concat(GREETING, toName(`${LIVE}.gyre`, 22), bytes))
  const answer = await promise
  assert.deepEqual(new Uint8Array(answer.subarray(0, 12)), concat(Uint8Array.of(5, 0), encodeReply(SocksReply.succeeded)))
  assert.ok(answer.subarray(12).equals(bytes))
})

test('a site or file speaks HTTP at port 80, to who named it', async () => {
  const get = utf8(`GET / HTTP/1.1\r\nHost: ${SITE}.gyre\r\nConnection: close\r\n\r\n`)
  const answer = Buffer.from(await say(GREETING, toName(`${SITE}.gyre`, 80), get))
    .subarray(12)
    .toString()
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[\s\S]*Gyre-Trace: [\s\S]*<p>home$/)
  await face.names.put('home', SITE)
  const named = Buffer.from(
    await say(GREETING, toName('home.gyre', 80), utf8('GET / HTTP/1.0\r\nHost: home.gyre\r\n\r\n')),
  ).subarray(12)
  assert.match(named.toString(), /^HTTP\/1\.1 200 OK\r\n[\s\S]*<p>home$/)
  const wrong = Buffer.from(await say(GREETING, toName('home.gyre', 80), get))
    .subarray(12)
    .toString()
  assert.match(wrong, /^HTTP\/1\.1 400 /)
  assert.equal(await replyTo(toName(`${SITE}.gyre`, 443)), SocksReply.refused)
})

test('RESOLVE gives an address that CONNECT takes, under the same credentials only', async () => {
  const auth = (user: string) => concat(Uint8Array.of(5, 1, 2), credentials(user, 'x'))
  const resolved = await say(auth('anna'), toName(`${SITE}.gyre`, 0, 0xf0))
  assert.deepEqual([...resolved.subarray(0, 8)], [5, 2, 1, 0, 5, 0, 0, 1])
  const address = [...resolved.subarray(8, 12)]
  assert.ok(isVirtual(Uint8Array.from(address)))
  const get = utf8(`GET / HTTP/1.1\r\nHost: ${SITE}.gyre\r\nConnection: close\r\n\r\n`)
  assert.match(Buffer.from(await say(auth('anna'), toIp(address, 80), get)).toString('latin1'), /<p>home$/)
  const others = await say(auth('bert'), toIp(address, 80), get)
  assert.deepEqual([...others.subarray(4, 6)], [5, SocksReply.hostUnreachable])
  assert.equal(await replyTo(toName('nobody.gyre', 0, 0xf0)), SocksReply.hostUnreachable)
  assert.equal(await replyTo(toName('example.org', 0, 0xf0)), SocksReply.notAllowed)
  assert.equal(await replyTo(toIp(address, 0, 0xf0)), SocksReply.notAllowed)
  assert.equal(await replyTo(toIp(address, 0, 0xf1)), SocksReply.commandUnsupported)
})

test('credentials isolate, the same as at the HTTP proxy; empty ones do not', async () => {
  for (const [user, password] of [
    ['anna', 'x'],
    ['anna', 'y'],
    ['', ''],
  ] as const)
    await askRaw(socks.at, concat(Uint8Array.of(5, 2, 0, 2), credentials(user, password), toName(`${LIVE}.gyre`, 22)), 100)
  const authorization = `Basic ${Buffer.from('anna:x').toString('base64')}`
  await askRaw(proxy.at, `CONNECT ${LIVE}.gyre:22 HTTP/1.1\r\nProxy-Authorization: ${authorization}\r\n\r\n`, 300)
  const [anna, changed, none, http] = live.asked.map(({ isolation }) => isolation)
  assert.equal(none, '')
  assert.equal(anna, http)
  assert.equal(new Set([anna, changed, none]).size, 3)
})

test('whatever is not of this network, or no CONNECT, is refused with its code', async () => {
  for (const [request, reply] of [
    [toName('example.org', 80), SocksReply.notAllowed],
    [toName('localhost', 80), SocksReply.notAllowed],
    [toName('127.0.0.1', 80), SocksReply.notAllowed],
    [toName('::1', 80), SocksReply.notAllowed],
    [toName(`${LIVE}.gyre.example.org`, 80), SocksReply.notAllowed],
    [toName(`${LIVE}.gyre\0.example.org`, 80), SocksReply.notAllowed],
    [toName('', 80), SocksReply.notAllowed],
    [toName(`${LIVE}.gyre.`, 22), SocksReply.hostUnreachable],
    [toName(`${LIVE.toUpperCase()}.gyre`, 22), SocksReply.hostUnreachable],
    [toName(`www.${LIVE}.gyre`, 22), SocksReply.hostUnreachable],
    [toName('nobody.gyre', 22), SocksReply.hostUnreachable],
    [toName('xn--gyre-9ka.gyre', 22), SocksReply.hostUnreachable],
    [toName(`${'a'.repeat(56)}.gyre`, 22), SocksReply.hostUnreachable],
    [toIp([127, 0, 0, 1], 9770), SocksReply.notAllowed],
    [toIp([93, 184, 216, 34], 80), SocksReply.notAllowed],
    [toIp([198, 18, 200, 1], 80), SocksReply.hostUnreachable],
    [toIp([198, 20, 0, 1], 80), SocksReply.notAllowed],
    [toIp(Array(16).fill(0), 80), SocksReply.addressUnsupported],
    [toName(`${LIVE}.gyre`, 23), SocksReply.refused],
    [toName(`${LIVE}.gyre`, 0), SocksReply.refused],
    [toName(`${LIVE}.gyre`, 22, 2), SocksReply.commandUnsupported],
    [toName(`${LIVE}.gyre`, 22, 3), SocksReply.commandUnsupported],
    [toName(`${LIVE}.gyre`, 22, 0), SocksReply.commandUnsupported],
    [Uint8Array.of(5, 1, 0, 9, 1), SocksReply.addressUnsupported],
    [Uint8Array.of(5, 1, 7, 1, 1), SocksReply.failed],
  ] as const)
    assert.equal(await replyTo(request), reply, Buffer.from(request).toString('latin1'))
  for (const [kind, code, reply] of [
    ['unreachable', 'SERVICE_UNREACHABLE', SocksReply.hostUnreachable],
    ['overload', 'SERVICE_BUSY', SocksReply.failed],
    ['unreachable', 'NETWORK_TOO_SMALL', SocksReply.networkUnreachable],
  ] as const) {
    live.fail = new OverlayError(kind, code, 'why')
    assert.equal(await replyTo(toName(`${LIVE}.gyre`, 22)), reply)
  }
  live.fail = new TypeError('a fault')
  assert.equal((await say(GREETING, toName(`${LIVE}.gyre`, 22)))[3], SocksReply.failed)
})

test('strangers are answered in their own words and let go', async () => {
  const socks4 = await say(Uint8Array.of(4, 1, 0, 80, 93, 184, 216, 34, 0))
  assert.deepEqual([...socks4], [0, 0x5b, 0, 0, 0, 0, 0, 0])
  const socks4a = await say(Uint8Array.of(4, 1, 0, 80, 0, 0, 0, 1, 0), utf8(`${LIVE}.gyre\0`))
  assert.deepEqual([...socks4a], [...socks4])
  const http = Buffer.from(await say(utf8(`GET http://${LIVE}.gyre/ HTTP/1.1\r\nHost: x\r\n\r\n`))).toString()
  assert.match(http, /^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*Content-Length: (\d+)\r\n\r\nThis is the SOCKS5 port/)
  assert.equal(http.split('\r\n\r\n')[1]?.length, Number(/Content-Length: (\d+)/.exec(http)?.[1]))
  assert.equal((await say(Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0))).length, 0)
  assert.deepEqual([...(await say(Uint8Array.of(5, 1, 1)))], [5, 0xff])
  assert.deepEqual([...(await say(Uint8Array.of(5, 1, 2, 9, 9)))], [5, 2, 1, 1])
})

test('who does not say what it wants is let go; a stop ends tunnels at once', async () => {
  const clock = new FakeClock()
  const parts = { clock, log: silentLog, at: { host: '127.0.0.1', port: 0 } }
  const own = await startProxy({ ...parts, face })
  const other = await startSocks({ ...parts, gate: own.gate })
  const open = (bytes: Uint8Array): Socket => {
    const socket = connect(other.at.port, '127.0.0.1')
    socket.on('error', () => {}).write(bytes)
    return socket
  }
  const silent = [Uint8Array.of(5), GREETING, concat(GREETING, toName('a.gyre', 80).subarray(0, 6))].map(open)
  let gone = 0
  for (const socket of silent) socket.resume().on('close', () => gone++)
  await eventually('they are there', () => clock.pendingTimers >= 3)
  await clock.advance(9_999)
  assert.equal(gone, 0)
  await clock.advance(1)
  await eventually('they are let go', () => gone === 3)
  const tunnel = open(concat(GREETING, toName(`${LIVE}.gyre`, 22)))
  let said = 0
  tunnel.on('data', (chunk) => (said += chunk.length))
  await eventually('the tunnel stands', () => said === 12)
  let closed = false
  tunnel.on('close', () => (closed = true))
  await other.close()
  await own.close()
  await eventually('the tunnel is closed', () => closed)
  await other.close()
  assert.equal(clock.pendingTimers, 0)
})
