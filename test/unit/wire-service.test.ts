/** Messages of introduction points (SPEC §11.2): round trips, every bound from both sides, truncations, and no field that aliases the bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { gyre } from '../../src/wire/generated/messages.js'
import {
  encodeHopRequest,
  encodeIntroductionReply,
  encodeIntroductionRequest,
  INTRODUCTION_REPLY_BYTES_MAX,
  INTRODUCTION_REQUEST_BYTES_MAX,
  type IntroductionReply,
  type IntroductionRequest,
  parseHopRequest,
  parseIntroductionReply,
  parseIntroductionRequest,
} from '../../src/wire/index.ts'

const exactly = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const upTo = (max: number, min = 0) => fc.uint8Array({ minLength: min, maxLength: max })
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> => fc.record(model, { noNullPrototype: true })
const handle = fc.maxSafeNat()
const work = fc.constantFrom(0, 8).chain(exactly)
const message = fc.oneof(upTo(40, 1), exactly(1536))

const request: fc.Arbitrary<IntroductionRequest> = fc.oneof(
  plain({ kind: fc.constant('await' as const), token: exactly(32) }),
  plain({ kind: fc.constant('answer' as const), token: exactly(32), handle, message: fc.oneof(upTo(40), exactly(1536)) }),
  plain({ kind: fc.constant('introduce' as const), point: exactly(32), message, work }),
)
const reply: fc.Arbitrary<IntroductionReply> = plain({
  introductions: fc.array(plain({ handle, message, work }), { maxLength: 8 }),
  message: upTo(1536),
})

/** Encoded and parsed, `value` is as before, whatever then becomes of the bytes. */
function comesBack<T>(values: fc.Arbitrary<T>, encode: (value: T) => Uint8Array, parse: (bytes: Uint8Array) => T | null): void {
  fc.assert(
    fc.property(values, (value) => {
      const bytes = encode(value)
      const parsed = parse(bytes)
      bytes.fill(0xee)
      assert.deepEqual(parsed, value)
    }),
    { numRuns: 150, seed: 2027 },
  )
}

test('introduction requests come back as they were, within the limit of their envelope', () => {
  comesBack(request, encodeIntroductionRequest, parseIntroductionRequest)
  fc.assert(
    fc.property(request, (value) => {
      const bytes = encodeIntroductionRequest(value)
      assert.ok(bytes.length <= INTRODUCTION_REQUEST_BYTES_MAX)
      const call = parseHopRequest(encodeHopRequest({ kind: 'introduction', request: bytes }))
      assert.ok(call?.kind === 'introduction')
      assert.deepEqual(parseIntroductionRequest(call.request), value)
    }),
    { numRuns: 50, seed: 1 },
  )
})

test('introduction replies come back as they were, the longest too; no bytes are an empty one', () => {
  comesBack(reply, encodeIntroductionReply, parseIntroductionReply)
  const longest = { handle: Number.MAX_SAFE_INTEGER, message: new Uint8Array(1536), work: new Uint8Array(8) }
  const bytes = encodeIntroductionReply({ introductions: Array.from({ length: 8 }, () => longest), message: new Uint8Array(0) })
  assert.ok(bytes.length <= INTRODUCTION_REPLY_BYTES_MAX)
  assert.equal(parseIntroductionReply(bytes)?.introductions.length, 8)
  assert.deepEqual(parseIntroductionReply(new Uint8Array(0)), { introductions: [], message: new Uint8Array(0) })
})

test('a join comes back as it was; a cookie of another length is none', () => {
  const { HopRequest } = gyre.circuit
  const cookie = new Uint8Array(32).fill(3)
  for (const exchange of [0, 15]) {
    const join = { kind: 'join', cookie, exchange } as const
    assert.deepEqual(parseHopRequest(encodeHopRequest(join)), join)
  }
  assert.equal(parseHopRequest(HopRequest.encode({ join: { cookie, exchange: 16 } }).finish()), null)
  for (const bytes of [0, 31, 33]) {
    assert.equal(parseHopRequest(HopRequest.encode({ join: { cookie: new Uint8Array(bytes) } }).finish()), null)
  }
})

test('what is out of bounds is null', () => {
  const { IntroductionRequest: Request, IntroductionReply: Reply } = gyre.service
  const of = (raw: gyre.service.IntroductionRequest.$Properties) => parseIntroductionRequest(Request.encode(raw).finish())
  const id = new Uint8Array(32)
  const said = new Uint8Array(9)
  const refused: gyre.service.IntroductionRequest.$Properties[] = [
    {},
    { await: {} },
    { await: { token: id.subarray(1) } },
    { await: { token: new Uint8Array(33) } },
    { answer: { token: id.subarray(1), handle: 1, message: said } },
    { answer: { token: id, handle: 2 ** 53, message: said } },
    { answer: { token: id, handle: 1, message: new Uint8Array(1537) } },
    { introduce: { point: id.subarray(1), message: said } },
    { introduce: { point: id } },
    { introduce: { point: id, message: new Uint8Array(1537) } },
    { introduce: { point: id, message: said, work: new Uint8Array(7) } },
    { introduce: { point: id, message: said, work: new Uint8Array(9) } },
  ]
  for (const raw of refused) assert.equal(of(raw), null, JSON.stringify(raw).slice(0, 80))
  assert.ok(of({ answer: { token: id } }), 'an empty answer is one')
  assert.equal(parseIntroductionRequest(new Uint8Array(INTRODUCTION_REQUEST_BYTES_MAX + 1)), null)
  const replyOf = (raw: gyre.service.IntroductionReply.$Properties) => parseIntroductionReply(Reply.encode(raw).finish())
  const one = { handle: 1, message: said }
  assert.ok(replyOf({ introductions: Array.from({ length: 8 }, () => one) }))
  assert.equal(replyOf({ introductions: Array.from({ length: 9 }, () => one) }), null)
  assert.equal(replyOf({ introductions: [one, { handle: 1 }] }), null)
  assert.equal(replyOf({ introductions: [{ ...one, handle: 2 ** 53 }] }), null)
  assert.equal(replyOf({ introductions: [{ ...one, work: said }] }), null)
  assert.equal(replyOf({ message: new Uint8Array(1537) }), null)
})

test('no truncation of an Introduce is taken for it', () => {
  const bytes = encodeIntroductionRequest({
    kind: 'introduce',
    point: new Uint8Array(32).fill(1),
    message: new Uint8Array(50).fill(2),
    work: new Uint8Array(8).fill(3),
  })
  for (let length = 0; length < bytes.length; length++) assert.equal(parseIntroductionRequest(bytes.subarray(0, length)), null)
})
