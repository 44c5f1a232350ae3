/**
 * Hostile bytes and orders at introduction and rendezvous points: requests changed, cut, spliced and random; services and clients that ask,
 * answer, give up and come back in any order; joins, payloads and ends in any order. Nothing throws, everything is answered at most once,
 * what is held stays within its limits and is nothing in the end. Seeded; `FUZZ_SEED`, `FUZZ_MS`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AWAIT_MS, Introductions } from '../../relay/introduction/index.ts'
import { QUEUE_PAYLOADS, RENDEZVOUS_LIMITS, Rendezvous } from '../../relay/rendezvous/index.ts'
import { concat, piecesOf } from '../../src/bytes/index.ts'
import { introductionPointName } from '../../src/service/index.ts'
import { PAYLOAD_BYTES, type PayloadFlow } from '../../src/stream/index.ts'
import {
  encodeIntroductionReply,
  encodeIntroductionRequest,
  parseIntroductionReply,
  parseIntroductionRequest,
} from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { counted } from '../support/fuzzing.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'
import { Talker } from '../support/talker.ts'

const SEED = process.env.FUZZ_SEED ?? '1'
const FOR_MS = Number(process.env.FUZZ_MS ?? 2_000)
const STATUSES = new Set(['ok', 'not-found', 'refused', 'busy', 'bad-request'])

function mutate(bytes: Uint8Array, other: Uint8Array, rng: SeededRng): Uint8Array {
  const changed = bytes.slice()
  switch (rng.below(5)) {
    case 0:
      return changed.subarray(0, rng.below(changed.length + 1))
    case 1:
      return concat(changed, rng.bytes(1 + rng.below(20)))
    case 2:
      return concat(changed.subarray(0, rng.below(changed.length + 1)), other.subarray(rng.below(other.length + 1)))
    case 3:
      return rng.bytes(rng.below(200))
    default:
      for (let flips = 1 + rng.below(4); flips > 0 && changed.length > 0; flips--) {
        changed[rng.below(Math.min(changed.length, rng.below(2) === 0 ? 12 : changed.length))]! ^= 1 + rng.below(255)
      }
      return changed
  }
}

test(`the parsers of introductions are total and canonical in what they accept (seed ${SEED})`, () => {
  const rng = seededRng(`parsers ${SEED}`)
  const one = { handle: 5, message: rng.bytes(100), work: rng.bytes(8) }
  const seeds = [
    encodeIntroductionRequest({ kind: 'await', token: rng.bytes(32) }),
    encodeIntroductionRequest({ kind: 'answer', token: rng.bytes(32), handle: 2 ** 50, message: rng.bytes(200) }),
    encodeIntroductionRequest({ kind: 'introduce', point: rng.bytes(32), message: rng.bytes(1_200), work: rng.bytes(8) }),
    encodeIntroductionReply({ introductions: [one, one], message: rng.bytes(3) }),
  ]
  const end = performance.now() + FOR_MS
  while (performance.now() < end) {
    const bytes = mutate(seeds[rng.below(seeds.length)]!, seeds[rng.below(seeds.length)]!, rng)
    counted(1)
    const request = parseIntroductionRequest(bytes)
    if (request !== null) assert.deepEqual(parseIntroductionRequest(encodeIntroductionRequest(request)), request)
    const reply = parseIntroductionReply(bytes)
    if (reply === null) continue
    assert.ok(reply.introductions.length <= 8 && reply.message.length <= 1536)
    assert.deepEqual(parseIntroductionReply(encodeIntroductionReply(reply)), reply)
  }
})

test(`introduction points under any order of requests, ends and time (seed ${SEED})`, async () => {
  const rng = seededRng(`points ${SEED}`)
  const limits = { points: 6, messages: 40 }
  const end = performance.now() + FOR_MS
  let answered = 0
  while (performance.now() < end) {
    const clock = new FakeClock()
    const introductions = new Introductions({ clock, rng, limits })
    const tokens = Array.from({ length: 9 }, () => rng.bytes(32))
    const token = () => tokens[rng.below(tokens.length)]!
    const handles: { readonly token: Uint8Array; readonly handle: number }[] = []
    const open = new Set<{ onEnd: (() => void) | null; parked(): void }>()
    let asked = 0
    let over = 0
    const ask = (request: Uint8Array, shown: Uint8Array) => {
      const call = { onEnd: null as (() => void) | null, parked: () => {} }
      open.add(call)
      asked++
      void introductions.service(request, call).then(({ status, body }) => {
        over++
        open.delete(call)
        assert.ok(STATUSES.has(status) && call.onEnd === null)
        const reply = parseIntroductionReply(concat(...piecesOf(body)))
        assert.ok(reply !== null && (status === 'ok' || reply.message.length + reply.introductions.length === 0))
        for (const { handle } of reply.introductions) handles.push({ token: shown, handle })
        if (reply.message.length > 0) answered++
      })
    }
    for (let step = 0; step < 150; step++) {
      counted(1)
      const shown = token()
      switch (rng.below(8)) {
        case 0:
        case 1:
          ask(encodeIntroductionRequest({ kind: 'await', token: shown }), shown)
          break
        case 2:
        case 3: {
          const work = rng.below(2) === 0 ? rng.bytes(8) : new Uint8Array(0)
          const message = rng.bytes(1 + rng.below(40))
          ask(encodeIntroductionRequest({ kind: 'introduce', point: introductionPointName(shown), message, work }), shown)
          break
        }
        case 4: {
          const known = handles[rng.below(handles.length + 1)] ?? { token: shown, handle: rng.below(2 ** 32) }
          const liar = rng.below(4) === 0 ? shown : known.token
          const message = rng.bytes(1 + rng.below(9))
          ask(encodeIntroductionRequest({ kind: 'answer', token: liar, handle: known.handle, message }), shown)
          break
        }
        case 5: {
          const calls = [...open]
          const call = calls[rng.below(calls.length + 1)]
          const onEnd = call?.onEnd
          if (call) call.onEnd = null
          onEnd?.()
          break
        }
        case 6:
          ask(rng.bytes(rng.below(60)), shown)
          break
        case 7:
          await clock.advance(rng.below(6) === 0 ? rng.below(AWAIT_MS) : rng.below(2_000))
          break
      }
      const { points, messages, handed } = introductions.figures
      assert.ok(points <= limits.points && messages <= limits.messages && handed <= messages, `${points} ${messages} ${handed}`)
    }
    if (rng.below(2) === 0) introductions.close()
    await clock.advance(2 * AWAIT_MS)
    assert.equal(over, asked, 'everything was answered')
    assert.deepEqual(introductions.figures, { points: 0, messages: 0, handed: 0 })
    assert.equal(clock.pendingTimers, 0)
  }
  assert.ok(answered > 0)
})

test(`a rendezvous point under any order of joins, payloads and ends (seed ${SEED})`, async () => {
  const rng = seededRng(`pairs ${SEED}`)
  const limits = { ...RENDEZVOUS_LIMITS, pairs: 8, alone: 5, payloads: 600 }
  const end = performance.now() + FOR_MS
  const scratch = new Uint8Array(PAYLOAD_BYTES).fill(0x55)
  let moved = 0
  while (performance.now() < end) {
    const clock = new FakeClock()
    let held = 0
    const most = rng.below(2) === 0 ? 4_000_000 : 300_000
    const memory = {
      hold: (bytes: number) => {
        if (held + bytes > most) return false
        held += bytes
        return true
      },
      release: (bytes: number) => {
        held -= bytes
        assert.ok(held >= 0)
      },
    }
    const rendezvous = new Rendezvous({ clock, memory, limits })
    const circuits: { flow: PayloadFlow | null; attach(flow: PayloadFlow): boolean }[] = []
    const locals: Talker[] = []
    for (let step = 0; step < 400; step++) {
      counted(1)
      const circuit = circuits[rng.below(circuits.length + 1)]
      const cookie = new Uint8Array(32).fill(rng.below(12))
      switch (rng.below(12)) {
        case 0:
        case 1: {
          const made = {
            flow: null as PayloadFlow | null,
            attach(flow: PayloadFlow) {
              if (this.flow !== null || rng.below(20) === 0) return false
              this.flow = flow
              return true
            },
          }
          const status = rendezvous.join(cookie, rng.below(10) === 0 && circuit ? circuit : made)
          assert.ok(STATUSES.has(status))
          if (made.flow !== null) circuits.push(made)
          break
        }
        case 2:
          if (circuit?.flow && rng.below(3) === 0) {
            circuit.flow.onGone()
            circuits.splice(circuits.indexOf(circuit), 1)
          }
          break
        case 3: {
          const talker = new Talker()
          try {
            talker.port = rendezvous.joinLocally(cookie, talker)
            talker.say(rng.below(300))
            locals.push(talker)
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'RENDEZVOUS_REFUSED')
          }
          break
        }
        case 4: {
          const talker = locals[rng.below(locals.length + 1)]
          if (rng.below(3) === 0) talker?.port?.close()
          else talker?.say(rng.below(50))
          break
        }
        case 5:
          await clock.advance(rng.below(10) === 0 ? 31_000 : rng.below(100))
          break
        default:
          for (let count = rng.below(400); count > 0 && circuit?.flow; count--) {
            if (rng.below(2) === 0) circuit.flow.onPayload(scratch, 0)
            else if (circuit.flow.due) {
              circuit.flow.take(scratch, 0)
              moved++
            }
            assert.ok(circuit.flow.waiting <= QUEUE_PAYLOADS)
          }
      }
      const { meetings, alone } = rendezvous.figures
      assert.ok(meetings <= limits.pairs && alone <= limits.alone && held <= most)
    }
    rendezvous.close()
    for (const { flow } of circuits) flow!.onGone()
    await clock.settle()
    assert.deepEqual(rendezvous.figures, { meetings: 0, alone: 0, payloads: 0 })
    assert.equal(held, 0)
    assert.equal(clock.pendingTimers, 0)
  }
  assert.ok(moved > 1_000)
})
