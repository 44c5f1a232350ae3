/**
 * The parsers that read a client's (and a publisher's) bytes: request target, Range, media type; and the proxy's whole front against
 * mutated requests on a socket. Only exact `.gyre` targets pass; nothing crashes; no answer is outside the contract. Seeded.
 */
import assert from 'node:assert/strict'
import { validateHeaderValue } from 'node:http'
import { test } from 'node:test'
import fc from 'fast-check'
import { HttpFailure, matchesEtag, parseRange, quotedEtag, safeContentType } from '../../client/http/index.ts'
import { checkRequestHeaders, requestHeaders, responseHeaders } from '../../client/proxy/headers.ts'
import { authorityOf, hostOf, startProxy, targetOf } from '../../client/proxy/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { counted, fuzzAssert } from '../support/fuzzing.ts'
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

test('only exact targets pass', () => {
  let passed = 0
  fuzzAssert(
    fc.property(
      url,
      fc.constantFrom('GET', 'HEAD', 'POST', 'OPTIONS', ''),
      fc.constantFrom(`${ADDRESS}.gyre`, `${ADDRESS}.gyre:81`, 'gyre.gyre', 'example.org'),
      (target, method, host) => {
        try {
          const found = targetOf(method, target, { host })
          passed++
          assert.equal(host, found.port === 80 ? found.host.name : `${found.host.name}:${found.port}`)
          assert.ok(found.host.label === ADDRESS || found.host.label === 'gyre')
          assert.equal(found.host.isAddress, found.host.label === ADDRESS)
          assert.match(target, new RegExp(`^http://${found.host.name}(:${found.port})?(/|\\?|$)`, 'i'))
          assert.match(found.path, /^(?:\*|\/[\x21-\x7e]*)$/)
        } catch (error) {
          assert.ok(error instanceof HttpFailure && (error.status === 400 || error.status === 403), String(error))
        }
      },
    ),
    { seed: SEED, numRuns: 20_000 },
  )
  assert.ok(passed > 50, `only ${passed} passed: the generator is too wild`)
})

test('an authority passes in its one spelling only', () => {
  let passed = 0
  fuzzAssert(
    fc.property(
      fc.oneof(
        url,
        fc.array(piece, { maxLength: 4 }).map((pieces) => pieces.join('')),
      ),
      (text) => {
        const authority = text.replace(/^http:\/\//, '').replace(/\/.*$/s, '')
        try {
          const { host, port } = authorityOf(authority, 80)
          passed++
          assert.ok(authority === host.name || authority === `${host.name}:${port}`)
          assert.ok(port >= 1 && port <= 65_535)
          assert.match(host.label, /^[a-z0-9-]{1,56}$/)
        } catch (error) {
          assert.ok(error instanceof HttpFailure && (error.status === 400 || error.status === 403), String(error))
        }
      },
    ),
    { seed: SEED, numRuns: 20_000 },
  )
  assert.ok(passed > 50, `only ${passed} passed: the generator is too wild`)
})

test('no header of a client or service gets past what strips it, and none breaks a line', () => {
  const name = fc.constantFrom(
    ...[
      'Connection',
      'connection',
      'Keep-Alive',
      'Proxy-Authorization',
      'Via',
      'Forwarded',
      'X-Forwarded-For',
      'X-Real-IP',
      'Host',
      'Cookie',
    ],
    ...[
      'Set-Cookie',
      'Origin',
      'Referer',
      'Location',
      'Content-Security-Policy',
      'Referrer-Policy',
      'Link',
      'Alt-Svc',
      'Transfer-Encoding',
      'X-A',
      'X-B',
    ],
    ...['Content-Length', 'Upgrade', 'TE', 'Gyre-Trace', 'Access-Control-Allow-Origin'],
  )
  const value = fc.oneof(
    fc.constantFrom(
      'x-a, close',
      'X-B,host,content-length',
      'chunked',
      'a=1; Domain=gyre',
      'a=1;domain',
      'a=b',
      'http://notes.gyre',
      'http://notes.gyre/x',
      `http://${ADDRESS}.gyre/`,
      ', ,',
      '',
    ),
    fc.string({ maxLength: 40, unit: 'grapheme-ascii' }),
  )
  const spelling = {
    host: hostOf('notes.gyre')!,
    port: 80,
    address: ADDRESS,
    find: (found: string) => (found === 'notes' ? ADDRESS : null),
  }
  const gone =
    /^(?:connection|keep-alive|te|transfer-encoding|content-length|upgrade|proxy-.*|via|forwarded|x-forwarded-.*|x-real-ip|gyre-.*)$/i
  fuzzAssert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), (pairs) => {
      const raw = pairs.flat()
      try {
        checkRequestHeaders(raw)
      } catch (error) {
        assert.ok(error instanceof HttpFailure && error.status === 400)
      }
      const listed = new Set(
        pairs.flatMap(([one, text]) =>
          /^connection$/i.test(one) ? text.split(',').map((each) => each.trim().toLowerCase()) : [],
        ),
      )
      const answered = responseHeaders(raw, spelling, 'http://notes.gyre')
      for (const out of [requestHeaders(raw, spelling), answered]) {
        assert.equal(out.length % 2, 0)
        for (let at = 0; at < out.length; at += 2) {
          const lower = out[at]!.toLowerCase()
          assert.doesNotMatch(lower, gone)
          if (lower !== 'host' && !/^(?:content-security-policy|referrer-policy|x-dns-prefetch-control)$/.test(lower))
            assert.ok(!listed.has(lower), lower)
          if (lower === 'set-cookie' && out === answered) assert.doesNotMatch(out[at + 1]!, /;\s*domain/i)
        }
      }
      const sent = requestHeaders(raw, spelling)
      assert.deepEqual(sent.slice(0, 2), ['Host', `${ADDRESS}.gyre`])
      for (let at = 0; at < sent.length; at += 2)
        if (/^(?:host|origin|referer)$/i.test(sent[at]!)) assert.doesNotMatch(sent[at + 1]!, /^(?:http:\/\/)?notes\.gyre(?:$|\/)/)
    }),
    { seed: SEED, numRuns: 10_000 },
  )
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
  fuzzAssert(
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
  fuzzAssert(
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
    const rng = seededRng(process.env.FUZZ_SEED ?? SEED)
    const good = Buffer.from(
      `GET http://${address}.gyre/ HTTP/1.1\r\nHost: ${address}.gyre\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n`,
    )
    const rounds = Array.from({ length: 600 }, () => {
      const bytes = Buffer.from(good)
      for (let changes = rng.below(3); changes >= 0; changes--) bytes[rng.below(bytes.length)] = rng.below(256)
      return bytes.subarray(0, rng.below(8) === 0 ? rng.below(bytes.length) : bytes.length)
    })
    counted(rounds.length)
    for (let at = 0; at < rounds.length; at += 50) {
      const answers = await Promise.all(rounds.slice(at, at + 50).map((bytes) => askRaw(proxy.at, bytes, 300)))
      for (const answer of answers) {
        if (answer !== '') assert.match(answer, /^HTTP\/1\.1 (200|204|206|304|400|403|404|405|412|416|417|431) /)
      }
    }
    assert.match(await askRaw(proxy.at, good), /^HTTP\/1\.1 206 /)
  } finally {
    await proxy.close()
  }
})
