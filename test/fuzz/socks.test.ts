/**
 * The SOCKS5 server's reading of a client's bytes: parsers against a naive twin, a handshake in any cut the same, and a running server against
 * mutated conversations. Nothing crashes, nothing is read past its end, no answer is outside of the RFCs. Seeded.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { startProxy, startSocks } from '../../client/proxy/index.ts'
import { parseCredentials, parseGreeting, parseRequest, SocksHandshake, type SocksStep } from '../../client/proxy/socks-codec.ts'
import { concat, utf8 } from '../../src/bytes/index.ts'
import { silentLog } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeFace } from '../support/fake-face.ts'
import { counted, fuzzAssert } from '../support/fuzzing.ts'
import { askRaw } from '../support/http.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = 9790
const NAME = 'notes.gyre'

const request = fc
  .tuple(
    fc.constantFrom(1, 2, 3, 0xf0, 0xf1),
    fc.constantFrom(1, 3, 4),
    fc.string({ maxLength: 60, unit: 'binary-ascii' }),
    fc.nat(65_535),
  )
  .map(([command, type, name, port]) => {
    const where =
      type === 1
        ? new Uint8Array(4).fill(7)
        : type === 4
          ? new Uint8Array(16).fill(7)
          : concat(Uint8Array.of(name.length), utf8(name))
    return concat(Uint8Array.of(5, command, 0, type), where, Uint8Array.of(port >> 8, port & 255))
  })
const conversation = fc
  .tuple(
    fc.constantFrom([5, 1, 0], [5, 2, 0, 2], [5, 1, 2], [5, 3, 1, 2, 9]),
    fc.string({ maxLength: 20 }),
    request,
    fc.uint8Array({ maxLength: 20 }),
  )
  .map(([greeting, user, wish, rest]) => {
    const name = utf8(user)
    const auth = greeting.slice(2).some((method) => method === 2)
      ? concat(Uint8Array.of(1, name.length), name, Uint8Array.of(1, 120))
      : new Uint8Array()
    return concat(Uint8Array.from(greeting), auth, wish, rest)
  })
const mutated = fc.tuple(conversation, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 3 })).map(([bytes, changes]) => {
  const copy = bytes.slice()
  for (const [at, value] of changes) if (at < copy.length) copy[at] = value
  return copy
})

/** All steps of `bytes` fed in pieces that end at `cuts`, as one. */
function steps(bytes: Uint8Array, cuts: readonly number[]): { sent: number[]; last: SocksStep | null } {
  const machine = new SocksHandshake()
  const sent: number[] = []
  let at = 0
  for (const to of [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]) {
    const step = machine.feed(bytes.subarray(at, to))
    sent.push(...step.send)
    at = to
    if (step.kind === 'more') continue
    const last = step.kind === 'request' ? { ...step, rest: concat(step.rest, bytes.subarray(at)) } : step
    return { sent, last: { ...last, send: new Uint8Array() } }
  }
  return { sent, last: null }
}

test('a conversation comes to the same however it is cut', () => {
  let wishes = 0
  fuzzAssert(
    fc.property(mutated, fc.array(fc.nat(300), { maxLength: 6 }), (bytes, cuts) => {
      const whole = steps(bytes, [])
      const split = steps(bytes, cuts)
      if (whole.last?.kind === 'request') wishes++
      // What is refused may be told sooner when the first byte comes alone; what is taken is the same.
      assert.deepEqual(split, whole)
    }),
    { seed: SEED, numRuns: 20_000 },
  )
  assert.ok(wishes > 2_000, `only ${wishes} wishes: the generator is too wild`)
})

test('the parsers agree with a naive reading', () => {
  fuzzAssert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 40 })), (bytes) => {
      const asked = parseRequest(bytes)
      if (asked.kind === 'value') {
        const [version, command, reserved, type, first = 0] = bytes
        assert.deepEqual([version, command, reserved], [5, asked.value.command, 0])
        const length = type === 1 ? 4 : type === 4 ? 16 : first
        const from = type === 3 ? 5 : 4
        assert.equal(asked.used, from + length + 2)
        assert.equal(asked.value.port, Buffer.from(bytes).readUInt16BE(from + length))
        const { destination } = asked.value
        const raw = destination.type === 'name' ? Buffer.from(destination.name, 'latin1') : destination.bytes
        assert.deepEqual([...raw], [...bytes.subarray(from, from + length)])
      }
      for (const parsed of [parseGreeting(bytes), parseCredentials(bytes), asked])
        if (parsed.kind === 'value') assert.ok(parsed.used > 0 && parsed.used <= bytes.length)
        else assert.ok(parsed.kind === 'more' || (parsed.reply >= 1 && parsed.reply <= 8))
    }),
    { seed: SEED, numRuns: 20_000 },
  )
})

test('mutated conversations on a socket', { timeout: 60_000 }, async () => {
  const parts = { clock: systemClock, log: silentLog, at: { host: '127.0.0.1', port: 0 } }
  const face = new FakeFace()
  const proxy = await startProxy({ ...parts, face })
  const socks = await startSocks({ ...parts, gate: proxy.gate })
  try {
    const rng = seededRng(process.env.FUZZ_SEED ?? SEED)
    const good = concat(Uint8Array.of(5, 2, 0, 2, 1, 1, 97, 1, 98, 5, 1, 0, 3, NAME.length), utf8(NAME), Uint8Array.of(0, 80))
    const rounds = Array.from({ length: 600 }, () => {
      const bytes = good.slice()
      for (let changes = rng.below(3); changes > 0; changes--) bytes[rng.below(bytes.length)] = rng.below(256)
      return bytes.subarray(0, rng.below(8) === 0 ? rng.below(bytes.length) : bytes.length)
    })
    counted(rounds.length)
    for (let at = 0; at < rounds.length; at += 50) {
      const answers = await Promise.all(rounds.slice(at, at + 50).map((bytes) => askRaw(socks.at, bytes, 200)))
      for (const answer of answers) {
        const bytes = Buffer.from(answer, 'latin1')
        // A method; the verdict on credentials; a reply that is a refusal. Or SOCKS4's, or HTTP's.
        const isSocks =
          bytes.length === 0 || (bytes[0] === 5 && [0, 2, 0xff].includes(bytes[1]!)) || (bytes[0] === 0 && bytes[1] === 0x5b)
        assert.ok(isSocks || answer.startsWith('HTTP/1.1 400 '), answer)
        if (bytes[0] === 5 && bytes.length >= 12) assert.ok(bytes.at(-9)! >= 1 && bytes.at(-9)! <= 8)
      }
    }
    assert.equal(Buffer.from(await askRaw(socks.at, good), 'latin1').at(-9), 4)
  } finally {
    await socks.close()
    await proxy.close()
  }
})
