/**
 * The parsers that read a client's (and a publisher's) bytes: request target, Range, media type; and the proxy's whole front against
 * mutated requests on a socket. Only exact `.gyre` targets pass; nothing crashes; no answer is outside the contract. Seeded.
 */
import assert from 'node:assert/strict'
import { validateHeaderValue } from 'node:http'
import { test } from 'node:test'
import fc from 'fast-check'
import { HttpFailure, matchesEtag, parseRange, quotedEtag, safeContentType } from '../../client/http/index.ts'
import { startProxy, targetOf } from '../../client/proxy/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { askRaw } from '../support/http.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = 9780
const ADDRESS = 'abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx'

const piece = fc.constantFrom(
  'http://',
  'HTTP://',
  'https:',
  '//',
  '/',
  '@',
  ':',
  ':80',
  ':81',
  '.',
  '.gyre',
  '.GYRE',
  'gyre',
  '#',
  '?',
  '%2e',
  '\\',
  ' ',
  ADDRESS,
  'example.org',
  '[::1]',
)
const url = fc.oneof(
  fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
  fc.tuple(fc.nat(80), fc.string({ maxLength: 2, unit: 'binary' })).map(([at, cut]) => {
    const whole = `http://${ADDRESS}.gyre/path?q`
    return whole.slice(0, at) + cut + whole.slice(at + 1)
  }),
)

test('only the exact target passes', () => {
  let passed = 0
  fc.assert(
    fc.property(
      url,
      fc.constantFrom('GET', 'HEAD', 'POST', 'CONNECT', ''),
      fc.constantFrom(`${ADDRESS}.gyre`, 'example.org'),
      (target, method, host) => {
        try {
          const { address, path } = targetOf(method, target, { host })
          passed++
          assert.equal(address, ADDRESS)
          assert.equal(host, `${ADDRESS}.gyre`)
          assert.ok(method === 'GET' || method === 'HEAD')
          assert.match(target, new RegExp(`^http://${ADDRESS}\\.gyre(:80)?(/|\\?|$)`, 'i'))
          assert.ok(path.startsWith('/'))
        } catch (error) {
          assert.ok(error instanceof HttpFailure && (error.status === 400 || error.status === 403), String(error))
        }
      },
    ),
    { seed: SEED, numRuns: 20_000 },
  )
  assert.ok(passed > 50, `only ${passed} passed: the generator is too wild`)
})

test('a Range is a part of the file, the whole, or unsatisfiable', () => {
  const number = fc.constantFrom('', '0', '1', '9', '10', '99', '100', '101', '99999999999999999999999', '-', 'x')
  const header = fc.oneof(
    fc.tuple(number, number).map(([first, last]) => `bytes=${first}-${last}`),
    fc
      .array(fc.tuple(number, number), { maxLength: 20 })
      .map((parts) => `bytes=${parts.map(([first, last]) => `${first}-${last}`).join(',')}`),
    fc.string({ maxLength: 30 }),
  )
  fc.assert(
    fc.property(header, fc.constantFrom(0, 1, 100, 2 ** 50), (text, length) => {
      const wanted = parseRange(text, length)
      if (wanted.kind !== 'part') return
      const { start, end } = wanted.range
      assert.ok(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start < end && end <= length, text)
    }),
    { seed: SEED, numRuns: 20_000 },
  )
})

test("a publisher's strings never break a header", () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      for (const value of [safeContentType(text), safeContentType(`text/html;${text}`), quotedEtag(text)]) {
        validateHeaderValue('x', value)
        assert.doesNotMatch(value, /[\r\n\0]/)
      }
      matchesEtag(text, '"x"', true)
    }),
    { seed: SEED, numRuns: 10_000 },
  )
})

test('mutated requests on a socket', { timeout: 60_000 }, async () => {
  const face = new FakeFace()
  const body = (async function* () {
    yield Uint8Array.of(1, 2, 3)
  })()
  const { address } = await face.publish(body, { signal: new AbortController().signal })
  const proxy = await startProxy({ face, clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 } })
  try {
    const rng = seededRng(SEED)
    const good = Buffer.from(
      `GET http://${address}.gyre/ HTTP/1.1\r\nHost: ${address}.gyre\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n`,
    )
    const rounds = Array.from({ length: 600 }, () => {
      const bytes = Buffer.from(good)
      for (let changes = rng.below(3); changes >= 0; changes--) bytes[rng.below(bytes.length)] = rng.below(256)
      return bytes.subarray(0, rng.below(8) === 0 ? rng.below(bytes.length) : bytes.length)
    })
    for (let at = 0; at < rounds.length; at += 50) {
      const answers = await Promise.all(rounds.slice(at, at + 50).map((bytes) => askRaw(proxy.at, bytes, 300)))
      for (const answer of answers) {
        if (answer !== '') assert.match(answer, /^HTTP\/1\.1 (200|206|304|400|403|404|412|416|417|431) /)
      }
    }
    assert.match(await askRaw(proxy.at, good), /^HTTP\/1\.1 206 /)
  } finally {
    await proxy.close()
  }
})
