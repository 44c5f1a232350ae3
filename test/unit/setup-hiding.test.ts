/**
 * What a packet shows to the member that receives it: the same at each place, in each loop, whatever the loop's length. Equal length, no
 * bit that stands still, no skew, nothing to compress, nothing shared with the packet before or behind. Node's ML-KEM takes no seed, so
 * these packets differ from run to run; the bounds are wide enough (7 standard deviations) not to fail by chance once in 10^5 runs.
 * Spec: SPEC.md §4.3; property P2.
 */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { EPHEMERAL_AT, RECORD_BYTES, SEALED_AT, STACK_BYTES } from '../../src/circuit/setup/constants.ts'
import { SETUP_BYTES } from '../../src/circuit/setup/index.ts'
import { shuffled } from '../../src/runtime/index.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { sendRound, testLoop, testNode } from '../support/setup-loops.ts'

const LOOPS = 150
const LENGTHS = [3, 5, 11] as const
/** Seen from hop 1, a middle hop, hop n and the origin, of loops of all lengths: a class each. */
const PLACES = ['first', 'middle', 'last', 'origin'] as const

/** Bits that are the same for all by the format: the version, and the top bit of an X25519 key. */
function publicBit(bit: number): boolean {
  return bit < 8 || bit === 8 * EPHEMERAL_AT + 255
}

function chiSquare(histogram: Float64Array, total: number): number {
  const expected = total / 256
  return histogram.reduce((sum, seen) => sum + (seen - expected) ** 2 / expected, 0)
}
/** 255 degrees of freedom: mean 255, deviation 22.6. */
const CHI_MAX = 255 + 7 * 22.6

describe('packets as received', () => {
  const seen = new Map<string, Uint8Array[]>()
  const rounds: (readonly Uint8Array[])[] = []

  before(() => {
    const rng = seededRng('hiding')
    const nodes = Array.from({ length: 40 }, () => testNode(rng))
    for (let loop = 0; loop < LOOPS * LENGTHS.length; loop++) {
      const hops = LENGTHS[loop % LENGTHS.length]!
      const { received } = sendRound(
        testLoop({ hops, rng, nodes: shuffled(nodes, rng).slice(0, hops + 1) }),
        undefined,
        () => null,
      )
      rounds.push(received)
      const places = { first: 0, middle: hops >> 1, last: hops - 1, origin: hops }
      for (const place of PLACES) {
        const key = `${place} of ${hops}`
        seen.set(key, [...(seen.get(key) ?? []), received[places[place]]!])
      }
    }
  })

  test('have one length', () => {
    for (const received of rounds) for (const packet of received) assert.equal(packet.length, SETUP_BYTES)
  })

  test('have no bit that stands still or leans, at any place', () => {
    for (const [place, packets] of seen) {
      const ones = new Uint16Array(8 * SETUP_BYTES)
      for (const packet of packets) {
        for (let byte = 0; byte < SETUP_BYTES; byte++) {
          const value = packet[byte]!
          for (let bit = 0; bit < 8; bit++) ones[8 * byte + bit]! += (value >>> bit) & 1
        }
      }
      const deviation = Math.sqrt(packets.length) / 2
      // 40 key ids are drawn again and again: they may lean, but not stand still.
      for (let bit = 0; bit < ones.length; bit++) {
        if (publicBit(bit)) continue
        if (bit < 16) assert.ok(ones[bit]! > 0 && ones[bit]! < packets.length, `${place}: key id`)
        else
          assert.ok(Math.abs(ones[bit]! - packets.length / 2) < 7 * deviation, `${place}: bit ${bit} is set ${ones[bit]} times`)
      }
    }
  })

  test('are flat where they are sealed, and alike where they are not, at every place', () => {
    const open: Float64Array[] = []
    for (const [place, packets] of seen) {
      const sealed = new Float64Array(256)
      const clear = new Float64Array(256)
      for (const packet of packets) {
        for (let at = SEALED_AT; at < SETUP_BYTES; at++) sealed[packet[at]!]!++
        for (let at = EPHEMERAL_AT; at < SEALED_AT; at++) clear[packet[at]!]!++
      }
      assert.ok(chiSquare(sealed, packets.length * (SETUP_BYTES - SEALED_AT)) < CHI_MAX, place)
      open.push(clear)
    }
    // Two samples of equal size: chi-square of their difference.
    for (const one of open) {
      for (const other of open) {
        const apart = one.reduce((sum, count, at) => sum + (count - other[at]!) ** 2 / Math.max(1, count + other[at]!), 0)
        assert.ok(apart < CHI_MAX)
      }
    }
  })

  test('share nothing with the packet of the member before, in place or moved by a record', () => {
    for (const shift of [0, RECORD_BYTES]) {
      const histogram = new Float64Array(256)
      let total = 0
      for (const received of rounds) {
        for (let at = 1; at < received.length; at++) {
          const [before, after] = [received[at - 1]!, received[at]!]
          for (let byte = RECORD_BYTES; byte + shift < STACK_BYTES; byte++, total++)
            histogram[after[byte]! ^ before[byte + shift]!]!++
        }
      }
      assert.ok(chiSquare(histogram, total) < CHI_MAX, `shift ${shift}`)
    }
    const replies = new Float64Array(256)
    let total = 0
    for (const received of rounds) {
      for (let at = 1; at < received.length; at++) {
        for (let byte = STACK_BYTES; byte < SETUP_BYTES; byte++, total++)
          replies[received[at]![byte]! ^ received[at - 1]![byte]!]!++
      }
    }
    assert.ok(chiSquare(replies, total) < CHI_MAX)
  })

  test('do not compress, and by no more at one place than at another', () => {
    const means = [...seen].map(([place, packets]) => {
      const sizes = packets.slice(0, 60).map((packet) => deflateRawSync(packet, { level: 9 }).length)
      assert.ok(Math.min(...sizes) >= SETUP_BYTES, place)
      return sizes.reduce((sum, size) => sum + size, 0) / sizes.length
    })
    assert.ok(Math.max(...means) - Math.min(...means) < 2, `${means}`)
    // All packets of one loop together: no member's packet helps to write down another's.
    for (const received of rounds.slice(0, 12)) {
      const joined = Buffer.concat(received.slice(0, 2).map((packet) => packet.subarray(EPHEMERAL_AT)))
      assert.ok(deflateRawSync(joined, { level: 9 }).length >= joined.length)
    }
  })
})
