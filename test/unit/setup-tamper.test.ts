/**
 * Every changed bit of a set-up packet, at any member, also changed and changed back by two colluders, yields no usable loop. The sweep
 * covers every bit at the places where the parts of the packet are judged; elsewhere each region by sample. `SETUP_SWEEP=full` takes every
 * bit everywhere (some minutes). Spec: SPEC.md §4.3 "Must fail".
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  CIPHERTEXT_AT,
  EPHEMERAL_AT,
  KID_AT,
  RECORD_BYTES,
  SEALED_AT,
  SLOT_BYTES,
  STACK_BYTES,
} from '../../src/circuit/setup/constants.ts'
import { openSetUp, SETUP_BYTES, type SetUpLayer } from '../../src/circuit/setup/index.ts'
import { checkReturn } from '../../src/circuit/setup/pending.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { sendRound, surroundings, testLoop } from '../support/setup-loops.ts'

const FULL = process.env.SETUP_SWEEP === 'full'
const BITS = 8 * SETUP_BYTES
const STACK_BITS = 8 * STACK_BYTES

/** What stands where, as [from, to) in bytes. */
const REGIONS: readonly (readonly [string, number, number])[] = [
  ['version', 0, KID_AT],
  ['key id', KID_AT, EPHEMERAL_AT],
  ['ephemeral', EPHEMERAL_AT, CIPHERTEXT_AT],
  ['ciphertext', CIPHERTEXT_AT, SEALED_AT],
  ['sealed body', SEALED_AT, RECORD_BYTES - 16],
  ['tag', RECORD_BYTES - 16, RECORD_BYTES],
  ['next record', RECORD_BYTES, 2 * RECORD_BYTES],
  ['later records', 2 * RECORD_BYTES, STACK_BYTES - RECORD_BYTES],
  ['last record', STACK_BYTES - RECORD_BYTES, STACK_BYTES],
  ['reply area', STACK_BYTES, SETUP_BYTES],
]

function flip(packet: Uint8Array, bit: number): Uint8Array {
  packet[bit >>> 3]! ^= 1 << (bit & 7)
  return packet
}

/** First, last and some bits of a region. */
function sample(from: number, to: number, count: number, rng = seededRng(from + to)): number[] {
  return [8 * from, 8 * to - 1, ...Array.from({ length: count }, () => 8 * from + rng.below(8 * (to - from)))]
}

describe('one changed bit', () => {
  const hops = 3
  const loop = testLoop({ hops, rng: seededRng('tamper') })
  const check = (packet: Uint8Array): readonly SetUpLayer[] | null => checkReturn(loop.state, packet)
  const honest = sendRound(loop, undefined, check)

  test('control: unchanged, the loop is usable each time', () => {
    assert.notEqual(honest.completed, null)
    assert.notEqual(sendRound(loop, undefined, check).completed, null)
  })

  for (let member = 0; member <= hops; member++) {
    test(`on the way to member ${member + 1} of ${hops + 1}, every region`, () => {
      for (const [region, from, to] of REGIONS) {
        for (const bit of sample(from, to, 12)) {
          const { completed, verdicts } = sendRound(loop, (packet, at) => (at === member ? flip(packet, bit) : packet), check)
          assert.equal(completed, null, `${region}, bit ${bit}`)
          if (member === hops) continue
          // The stack is judged at once, by the member that receives it; the reply area by the origin alone.
          assert.equal(verdicts.length, bit < STACK_BITS ? member + 1 : hops)
          assert.equal(verdicts[member]?.ok, bit >= STACK_BITS, `${region}, bit ${bit}`)
        }
      }
    })
  }

  test('every bit of a record and sampled bits behind it, at a hop: dropped there', () => {
    const packet = honest.received[1]!
    const around = surroundings(loop, 1)
    const step = FULL ? 1 : 61
    for (let bit = 0; bit < STACK_BITS; bit += bit < 8 * RECORD_BYTES ? 1 : step) {
      flip(packet, bit)
      assert.equal(openSetUp(packet, around).ok, false, `bit ${bit}`)
      flip(packet, bit)
    }
    assert.equal(openSetUp(packet, around).ok, true)
  })

  test('every bit of the whole packet, at the origin: no loop', () => {
    const packet = honest.received[hops]!
    for (let bit = 0; bit < BITS; bit++) {
      flip(packet, bit)
      assert.equal(check(packet), null, `bit ${bit}`)
      flip(packet, bit)
    }
    assert.notEqual(check(packet), null)
  })

  test('every byte of the reply area, at a hop in the middle: passed on, and no loop', () => {
    const step = FULL ? 1 : 8
    for (let bit = STACK_BITS; bit < BITS; bit += step) {
      const changed = bit + ((bit / 8) % step)
      const { completed, verdicts } = sendRound(
        loop,
        (packet, at) => (at === 1 ? flip(packet, Math.floor(changed)) : packet),
        check,
      )
      assert.equal(verdicts.length, hops)
      assert.equal(completed, null, `bit ${changed}`)
    }
  })
})

describe('two colluders, one changing and one changing back, with honest members between them', () => {
  const hops = 5
  const loop = testLoop({ hops, rng: seededRng('collude') })
  const check = (packet: Uint8Array): readonly SetUpLayer[] | null => checkReturn(loop.state, packet)
  const rng = seededRng('marks')

  for (let first = 0; first < hops; first++) {
    for (let second = first + 1; second <= hops; second++) {
      test(`before member ${first + 1}, back before member ${second + 1}`, () => {
        for (const [region, from, to] of REGIONS) {
          const mark = rng.bytes(4).map((byte) => byte | 1)
          const at = from + rng.below(to - from)
          const apply = (packet: Uint8Array, shift: number): Uint8Array => {
            for (let i = 0; i < mark.length && at + i < to; i++) if (at + i - shift >= 0) packet[at + i - shift]! ^= mark[i]!
            return packet
          }
          // Peeling moves the stack forward by a record at each member; the reply area stays in place.
          const moved = from < STACK_BYTES ? RECORD_BYTES * (second - first) : 0
          const meddle = (packet: Uint8Array, member: number): Uint8Array => {
            if (member === first) return apply(packet, 0)
            return member === second ? apply(packet, moved) : packet
          }
          const { completed, verdicts } = sendRound(loop, meddle, check)
          assert.equal(completed, null, region)
          if (from < STACK_BYTES) assert.equal(verdicts[first]?.ok, false, `${region}: stopped by the first honest member`)
          else assert.equal(verdicts.length, hops, 'the reply area tells nobody on the way')
        }
      })
    }
  }

  test('control: changed and changed back with nobody between is no change', () => {
    const twice = (packet: Uint8Array, at: number): Uint8Array =>
      at === 2 ? flip(flip(packet, STACK_BITS + 7), STACK_BITS + 7) : packet
    assert.notEqual(sendRound(loop, twice, check).completed, null)
  })

  test('a member left out: its packet handed to the one behind it', () => {
    const { received } = sendRound(loop, undefined, check)
    for (let at = 0; at < hops; at++) {
      for (let other = 0; other < hops; other++) {
        if (other === at) continue
        const around = surroundings(loop, other, { onionKeys: { find: () => loop.nodes[other]!.pair } })
        assert.equal(openSetUp(received[at]!, around).ok, false)
      }
    }
    assert.equal(check(received[hops - 1]!), null)
  })

  test('records exchanged: between two places of one packet, and between two packets', () => {
    const other = testLoop({ hops, rng: seededRng('other'), nodes: [...loop.nodes, loop.origin] })
    const stacks = [loop.built.packet, other.built.packet]
    const mixed = stacks[0]!.slice()
    mixed.set(stacks[1]!.subarray(0, RECORD_BYTES))
    assert.equal(openSetUp(mixed, surroundings(loop, 0)).ok, false, 'first record of another packet')
    for (const place of [1, 2, 11]) {
      const exchanged = stacks[0]!.slice()
      exchanged.copyWithin(0, place * RECORD_BYTES, (place + 1) * RECORD_BYTES)
      exchanged.set(stacks[0]!.subarray(0, RECORD_BYTES), place * RECORD_BYTES)
      const around = surroundings(loop, 0, { onionKeys: { find: () => loop.nodes[0]!.pair } })
      assert.equal(openSetUp(exchanged, around).ok, false)
      const grafted = stacks[0]!.slice()
      grafted.set(stacks[1]!.subarray(place * RECORD_BYTES, (place + 1) * RECORD_BYTES), place * RECORD_BYTES)
      assert.equal(openSetUp(grafted, surroundings(loop, 0)).ok, false, `record ${place} of another packet`)
    }
  })

  test('a reply area of another loop, of an earlier member, or fresh noise', () => {
    const rounds = sendRound(loop, undefined, check).received
    const areas = [
      testLoop({ hops, nodes: [...loop.nodes, loop.origin] }).built.packet.subarray(STACK_BYTES),
      rounds[1]!.subarray(STACK_BYTES),
      rng.bytes(12 * SLOT_BYTES),
    ]
    for (const area of areas) {
      const replaced = (packet: Uint8Array, at: number): Uint8Array => {
        if (at === 3) packet.set(area, STACK_BYTES)
        return packet
      }
      assert.equal(sendRound(loop, replaced, check).completed, null)
    }
  })

  test('the answers of one round grafted onto another round of the same packet', () => {
    const [first, second] = [sendRound(loop, undefined, check).received[hops]!, sendRound(loop, undefined, check).received[hops]!]
    for (const { slot } of loop.state.hops) {
      const grafted = first.slice()
      const at = STACK_BYTES + slot * SLOT_BYTES
      grafted.set(second.subarray(at, at + SLOT_BYTES), at)
      assert.equal(check(grafted), null)
    }
  })
})
