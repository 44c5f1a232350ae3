/** Proof of work: found nonces verify, nothing else does, and a search is bounded and can be stopped. Vectors: test/vectors/pow.json. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { concat, fromHex, toHex, utf8 } from '../../src/bytes/index.ts'
import {
  findWork,
  sha256,
  taggedHash,
  verifyWork,
  WORK_BINDING_BYTES_MAX,
  WORK_BITS_MAX,
  WORK_NONCE_BYTES,
} from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

interface PowVector {
  readonly label: string
  readonly binding: string
  readonly effortBits: number
  readonly nonce: string
  readonly seed: string
  readonly hash: string
}
interface RefusedVector extends Omit<PowVector, 'seed' | 'hash'> {
  readonly why: string
}

const file = new URL('../vectors/pow.json', import.meta.url)
const { accepted, refused } = JSON.parse(readFileSync(file, 'utf8')) as { accepted: PowVector[]; refused: RefusedVector[] }
const hex = (text: string): Uint8Array => fromHex(text) ?? assert.fail('bad hex in a vector file')
const waiting = { clock: systemClock, signal: new AbortController().signal }
const isTooHard = (error: unknown) => isOverlayError(error, 'WORK_TOO_HARD')

suite('vectors', () => {
  test('accepted ones: seed, hash, least nonce, and the verifier', async () => {
    for (const { label, binding, effortBits, nonce, seed, hash } of accepted) {
      assert.equal(toHex(taggedHash('gyre/1 work', utf8(label), hex(binding))), seed)
      assert.equal(toHex(sha256(concat(hex(seed), hex(nonce)))), hash)
      assert.equal(verifyWork(label, hex(binding), hex(nonce), effortBits), true)
      assert.equal(toHex(await findWork(label, hex(binding), effortBits, waiting)), nonce)
    }
  })

  test('refused ones', () => {
    for (const { label, binding, effortBits, nonce, why } of refused) {
      assert.equal(verifyWork(label, hex(binding), hex(nonce), effortBits), false, why)
    }
  })
})

suite('properties', () => {
  test('what is found verifies at its effort and below, and only for its own label and binding', async () => {
    const binding = fc.uint8Array({ maxLength: 64 })
    await fc.assert(
      fc.asyncProperty(
        fc.string({ maxLength: 12 }),
        binding,
        fc.integer({ min: 0, max: 9 }),
        async (label, bound, effortBits) => {
          const nonce = await findWork(label, bound, effortBits, waiting)
          assert.equal(nonce.length, WORK_NONCE_BYTES)
          for (let bits = 0; bits <= effortBits; bits++) assert.equal(verifyWork(label, bound, nonce, bits), true)
        },
      ),
      { seed: 1997, numRuns: 60 },
    )
    const bound = utf8('descriptor of 2026')
    const nonce = await findWork('descriptor', bound, 14, waiting)
    assert.equal(verifyWork('descriptors', bound, nonce, 14), false)
    assert.equal(verifyWork('descriptor', concat(bound, new Uint8Array(1)), nonce, 14), false)
    assert.equal(verifyWork('descripto', concat(utf8('r'), bound), nonce, 14), false, 'label and binding have a border')
  })

  test('a random nonce passes n bits about once in 2^n', () => {
    const rng = seededRng(1997)
    let passed = 0
    for (let at = 0; at < 4096; at++) if (verifyWork('odds', utf8('b'), rng.bytes(8), 4)) passed++
    assert.ok(Math.abs(passed - 256) < 6 * 16, `${passed} of 4096, 256 expected`)
  })
})

suite('bounds', () => {
  test('effort, nonce and binding out of range: the verifier says no, the search refuses', async () => {
    const nonce = new Uint8Array(WORK_NONCE_BYTES)
    assert.equal(verifyWork('l', nonce, nonce, 0), true)
    for (const bits of [-1, 0.5, Number.NaN, WORK_BITS_MAX + 1, Number.POSITIVE_INFINITY]) {
      assert.equal(verifyWork('l', nonce, nonce, bits), false)
      await assert.rejects(findWork('l', nonce, bits, waiting), isTooHard)
    }
    for (const length of [0, 7, 9, 16]) assert.equal(verifyWork('l', nonce, new Uint8Array(length), 0), false)
    const long = new Uint8Array(WORK_BINDING_BYTES_MAX + 1)
    assert.equal(verifyWork('l', long, nonce, 0), false)
    assert.equal(verifyWork('l', long.subarray(1), nonce, 0), true)
    await assert.rejects(findWork('l', long, 0, waiting), isTooHard)
  })

  test('a used-up budget ends the search', async () => {
    await assert.rejects(findWork('l', utf8('b'), WORK_BITS_MAX, { ...waiting, budgetHashes: 3000 }), isTooHard)
    await assert.rejects(findWork('l', utf8('b'), 0, { ...waiting, budgetHashes: 0 }), isTooHard)
  })

  test("the search gives way after each 1024 hashes and ends with the signal's reason", async () => {
    const clock = new FakeClock()
    const controller = new AbortController()
    const reason = new Error('no longer wanted')
    const search = findWork('l', utf8('b'), WORK_BITS_MAX, { clock, signal: controller.signal })
    assert.equal(clock.pendingTurns, 1)
    controller.abort(reason)
    clock.runTurns()
    await assert.rejects(search, reason)
    assert.equal(clock.pendingTurns, 0)
    await assert.rejects(findWork('l', utf8('b'), 0, { clock, signal: controller.signal }), reason)
  })
})
