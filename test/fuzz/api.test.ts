/**
 * The API's whole front on a socket, with the token right: requests whose head is changed anywhere, and bodies (JSON, tar, a file) that are. Every answer is
 * one of the contract and never a fault of the program; a sound request is answered as before. Seeded.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startApi } from '../../client/api/index.ts'
import { concat } from '../../src/bytes/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { counted, fuzzSeed, LONG_MS } from '../support/fuzzing.ts'
import { askRaw } from '../support/http.ts'
import { mutateBytes, mutateJson } from '../support/mutate.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { tarOf } from '../support/tar-maker.ts'

const TOKEN = 'f'.repeat(64)
const ADDRESS = 'abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx'
const AT_ONCE = 40
const SHORT_ROUNDS = 800
const ANSWER = /^HTTP\/1\.1 (?:[23]\d\d|400|401|403|404|405|406|409|411|412|413|414|415|416|417|421|422|429|431) /
const many = { perSecond: 1e6, burst: 1e6 }

const utf8 = (text: string) => new Uint8Array(Buffer.from(text))
const words = ['/', '%2f', '..', '%00', '?', '&', '\r\n', ':', ' ', 'chunked', 'Expect: 100-continue', '-1', '1e9', ADDRESS].map(
  utf8,
)
const json = mutateJson([ADDRESS, '127.0.0.1:80', 'home', 'read', 'admin', 'user'])
const bytes = mutateBytes(words)

interface Sound {
  readonly method: string
  readonly path: string
  readonly type?: string
  readonly body?: Uint8Array
}

test('requests that are changed anywhere', { timeout: 600_000 }, async (t) => {
  t.diagnostic(`FUZZ_SEED=${fuzzSeed}`)
  const rng = seededRng(`api ${fuzzSeed}`)
  const tar = await tarOf([
    { name: 'index.html', content: '<p>' },
    { name: 'a/b.txt', content: 'b'.repeat(600) },
  ])
  const of = (value: object) => ({ type: 'application/json', body: utf8(JSON.stringify(value)) })
  const sound: readonly Sound[] = [
    ...[
      '/v1/status',
      '/v1/peers',
      '/v1/loops',
      '/v1/keeps',
      '/v1/names',
      '/v1/tokens',
      '/v1/services',
      '/v1/sites',
      '/metrics',
    ].map((path) => ({ method: 'GET', path })),
    ...[`/v1/fetch/${ADDRESS}`, `/v1/fetch/${ADDRESS}/a/b.txt?x=1`, `/v1/receipts/${ADDRESS}`, '/v1/transfers/1'].map((path) => ({
      method: 'GET',
      path,
    })),
    { method: 'PUT', path: `/v1/keeps/${ADDRESS}` },
    { method: 'DELETE', path: `/v1/keeps/${ADDRESS}` },
    { method: 'PUT', path: '/v1/names/friend', ...of({ address: ADDRESS, source: 'user' }) },
    { method: 'POST', path: '/v1/services', ...of({ name: 'web', target: '127.0.0.1:8000', port: 80 }) },
    { method: 'POST', path: '/v1/tokens', ...of({ name: 'script', scope: 'read' }) },
    { method: 'POST', path: '/v1/publish?name=a.txt&keep=false', type: 'text/plain', body: utf8('hello') },
    { method: 'POST', path: '/v1/sites?key=home', type: 'application/x-tar', body: tar },
  ]
  const api = await startApi({
    ...{ face: new FakeFace(), clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 }, token: TOKEN },
    rates: { own: many, token: many, open: many, failed: many },
  })
  const whole = (request: Sound, body = request.body, head: (text: string) => Uint8Array = utf8) => {
    const lines = [
      ...[`${request.method} ${request.path} HTTP/1.1`, `Host: 127.0.0.1:${api.at.port}`, `Authorization: Bearer ${TOKEN}`],
      ...(request.type === undefined ? [] : [`Content-Type: ${request.type}`]),
      ...(body === undefined ? [] : [`Content-Length: ${body.length}`]),
      ...['Connection: close', '', ''],
    ]
    return concat(head(lines.join('\r\n')), body ?? new Uint8Array())
  }
  const hostile = () => {
    const request = sound[rng.below(sound.length)]!
    const body = request.body
    if (body === undefined || rng.below(3) === 0) return whole(request, body, (text) => bytes([utf8(text)], rng))
    return whole(request, request.type === 'application/json' ? json([body], rng) : bytes([body], rng))
  }
  try {
    const end = performance.now() + (LONG_MS ?? 0)
    for (let round = 0; LONG_MS === null ? round < SHORT_ROUNDS : performance.now() < end; round += AT_ONCE) {
      const requests = Array.from({ length: AT_ONCE }, hostile)
      counted(AT_ONCE)
      const answers = await Promise.all(requests.map((request) => askRaw(api.at, request, 300)))
      for (const [at, answer] of answers.entries()) {
        const what = () => `${Buffer.from(requests[at]!.subarray(0, 600)).toString('latin1')}\n${answer.slice(0, 300)}`
        if (answer !== '') assert.match(answer.replace('HTTP/1.1 100 Continue\r\n\r\n', ''), ANSWER, what())
      }
    }
    assert.match(await askRaw(api.at, whole(sound[0]!)), /^HTTP\/1\.1 200 /)
    const published = sound.at(-2)!
    assert.match(await askRaw(api.at, whole(published)), /^HTTP\/1\.1 201 /)
  } finally {
    await api.close()
  }
})
