/**
 * Fuzz of everything in set-up that reads a peer's bytes: packet, record body, cells, and the return at the origin. Any bytes give a
 * verdict: nothing throws, nothing is passed on that was changed where it is sealed. Seeded; `FUZZ_RUNS` sets how many (default 400).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { MonotonicMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, type CircuitId } from '../../src/cell/index.ts'
import { STACK_BYTES } from '../../src/circuit/setup/constants.ts'
import { ASSEMBLIES_MAX, ephemeralOf, openSetUp, SETUP_BYTES, SetUpAssembler } from '../../src/circuit/setup/index.ts'
import { checkReturn } from '../../src/circuit/setup/pending.ts'
import { decodeBody, encodeBody } from '../../src/circuit/setup/record.ts'
import { fuzzAssert } from '../support/fuzzing.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { sendRound, surroundings, testLoop } from '../support/setup-loops.ts'

const numRuns = Number(process.env.FUZZ_RUNS ?? 400)
const options = { seed: 20260101, numRuns }
const loop = testLoop({ hops: 3, rng: seededRng('fuzz') })
const home = sendRound(loop, undefined, () => null).received[3]!
const node = loop.nodes[0]!

/** Some bytes at some place, written over or XORed. */
const edit = fc.record({
  at: fc.nat(SETUP_BYTES - 1),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }),
  over: fc.boolean(),
})
const edits = fc.array(edit, { minLength: 1, maxLength: 6 })

function edited(packet: Uint8Array, changes: readonly { at: number; bytes: Uint8Array; over: boolean }[]): Uint8Array {
  const changed = packet.slice()
  for (const { at, bytes, over } of changes) {
    for (let i = 0; i < bytes.length && at + i < changed.length; i++) {
      changed[at + i] = over ? bytes[i]! : changed[at + i]! ^ bytes[i]!
    }
  }
  return changed
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.from(a).equals(b)

describe('bytes from a peer', () => {
  test('any packet gets a verdict; a changed stack is never passed on', () => {
    fuzzAssert(
      fc.property(edits, fc.constantFrom('as it is', 'own key id'), (changes, kid) => {
        const packet = edited(loop.built.packet, changes)
        if (kid === 'own key id') packet[1] = node.onion.kid
        const verdict = openSetUp(packet, surroundings(loop, 0))
        assert.equal(verdict.ok, same(packet.subarray(0, STACK_BYTES), loop.built.packet.subarray(0, STACK_BYTES)))
      }),
      options,
    )
  })

  test('noise of any length is dropped', () => {
    fuzzAssert(
      fc.property(fc.nat(SETUP_BYTES + 100), fc.nat(), (length, seed) => {
        const noise = seededRng(seed).bytes(length)
        assert.equal(openSetUp(noise, surroundings(loop, 0)).ok, false)
        assert.equal(ephemeralOf(noise), length === SETUP_BYTES ? Buffer.from(noise.subarray(2, 34)).toString('hex') : '')
      }),
      options,
    )
    fuzzAssert(
      fc.property(fc.nat(), (seed) => {
        const noise = seededRng(seed).bytes(SETUP_BYTES)
        noise.set([1, node.onion.kid])
        assert.equal(openSetUp(noise, surroundings(loop, 0)).ok, false)
      }),
      { ...options, numRuns: Math.ceil(numRuns / 4) },
    )
  })

  test('any return but the right one gives the origin no loop', () => {
    fuzzAssert(
      fc.property(edits, (changes) => {
        const packet = edited(home, changes)
        assert.equal(checkReturn(loop.state, packet) !== null, same(packet, home))
      }),
      options,
    )
  })

  test('any record body decodes to what encodes it again, or to nothing', () => {
    const nearly = fc.tuple(fc.uint8Array({ minLength: 88, maxLength: 88 }), fc.boolean()).map(([bytes, tidy]) => {
      if (tidy)
        for (const [at, below] of [
          [32, 1],
          [33, 3],
          [35, 12],
          [54, 1],
          [55, 1],
        ] as const)
          bytes[at]! %= below
      return bytes
    })
    fuzzAssert(
      fc.property(fc.oneof(nearly, fc.uint8Array({ maxLength: 100 })), (bytes) => {
        const body = decodeBody(bytes)
        if (body !== null) assert.deepEqual(encodeBody(body, bytes.subarray(72)), bytes)
      }),
      { ...options, numRuns: 4 * numRuns },
    )
  })

  test('any cells in any order leave a bounded number of assemblies', () => {
    const cell = fc.record({
      id: fc.nat(2 * ASSEMBLIES_MAX),
      part: fc.oneof(fc.constant(0), fc.nat(255)),
      length: fc.oneof(fc.constant(BODY_BYTES), fc.constant(BODY_BYTES), fc.nat(BODY_BYTES + 1)),
      dirty: fc.boolean(),
      waitMs: fc.nat(100),
    })
    fuzzAssert(
      fc.property(fc.array(cell, { maxLength: 200 }), (cells) => {
        const assembler = new SetUpAssembler()
        let now = 0
        for (const { id, part, length, dirty, waitMs } of cells) {
          const body = new Uint8Array(length)
          if (length > 0) body[0] = part
          if (dirty && length > 0) body[length - 1] = 1
          now += waitMs
          assembler.accept(id as CircuitId, body, now as MonotonicMs)
          assert.ok(assembler.size <= ASSEMBLIES_MAX)
        }
      }),
      { ...options, numRuns: Math.ceil(numRuns / 4) },
    )
  })
})
