/** Descriptors: what is accepted, and that nothing changed, foreign, stale or unpaid is. Spec: SPEC.md §6.1, §6.2. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { UnixMs } from '../../src/bytes/index.ts'
import {
  DESCRIPTOR_LIFE_MS,
  makeDescriptor,
  networkIdOf,
  PUBLISHED_AHEAD_MS,
  verifyDescriptor,
} from '../../src/directory/index.ts'
import { encodeDescriptor, encodeSignedDescriptor, parseDescriptor, parseSignedDescriptor } from '../../src/wire/index.ts'
import { TEST_RULES, testClaims, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'

const now = FakeClock.START_UNIX_MS as UnixMs
const later = (ms: number) => (now + ms) as UnixMs
const alice = testNode(1)
const bob = testNode(2)
const good = testDescriptor(alice, { neighbours: [bob.id], family: [bob.id] })
const judge = (bytes: Uint8Array, at: UnixMs = now) => verifyDescriptor(bytes, TEST_RULES, at)

test('what a node signed is accepted and says what it said', () => {
  const verified = judge(good)
  assert.ok(typeof verified !== 'string')
  const { work, firstSeenDay, ...claims } = testClaims(alice, { neighbours: [bob.id], family: [bob.id] })
  assert.deepEqual(verified.descriptor, { id: alice.id, ...claims })
  assert.equal(work.length, 8)
  assert.equal(firstSeenDay, 20_000)
  assert.deepEqual(verified.signed, good)
})

test('the work that puts are asked for: 0 to 20 bits, absent where none is', () => {
  const asked = (putEffort: number) => judge(testDescriptor(alice, { putEffort }))
  for (const bits of [1, 20]) {
    const verified = asked(bits)
    assert.ok(typeof verified !== 'string')
    assert.equal(verified.descriptor.putEffort, bits)
  }
  const none = asked(0)
  assert.ok(typeof none !== 'string')
  assert.equal('putEffort' in none.descriptor, false)
  assert.deepEqual(testDescriptor(alice, { putEffort: 0 }), testDescriptor(alice))
  assert.equal(asked(21), 'malformed')
})

test('no changed byte of a signed descriptor passes', () => {
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = good.slice()
      changed[at]! ^= flip
      const verdict = judge(changed)
      // A changed field number of the wrapper may hide nothing: both fields are required.
      assert.equal(typeof verdict, 'string')
    }),
    { seed: 7, numRuns: 400 },
  )
})

test('the window of validity: ten minutes ahead, 24 hours behind', () => {
  assert.equal(typeof judge(good, later(-PUBLISHED_AHEAD_MS)), 'object')
  assert.equal(judge(good, later(-PUBLISHED_AHEAD_MS - 1)), 'future')
  assert.equal(typeof judge(good, later(DESCRIPTOR_LIFE_MS - 1)), 'object')
  assert.equal(judge(good, later(DESCRIPTOR_LIFE_MS)), 'expired')
})

test('another network, another signer, no work, a wrong form', () => {
  assert.equal(judge(makeDescriptor(testClaims(alice), networkIdOf('other'), alice.key)), 'foreign')
  const { descriptor } = parseSignedDescriptor(good)!
  assert.equal(judge(encodeSignedDescriptor({ descriptor, signature: bob.key.sign(descriptor) })), 'forged')
  // The signature of the right key over the bytes without the context label.
  assert.equal(judge(encodeSignedDescriptor({ descriptor, signature: alice.key.sign(descriptor) })), 'forged')
  const unpaid = Array.from({ length: 40 }, (_, at) => judge(testDescriptor(alice, { work: new Uint8Array(8).fill(at + 100) })))
  assert.ok(unpaid.filter((verdict) => verdict === 'no-work').length > 20)
  assert.equal(judge(testDescriptor(alice, { neighbours: [alice.id] })), 'malformed')
  assert.equal(judge(testDescriptor(alice, { neighbours: [bob.id, bob.id] })), 'malformed')
  assert.equal(judge(testDescriptor(alice, { addresses: ['127.0.0.1:1'] })), 'malformed')
  assert.equal(judge(testDescriptor(alice, { addresses: ['/ip4/1.2.3.4/tcp/1/p2p/x'] })), 'malformed')
  assert.equal(judge(new Uint8Array(5000)), 'malformed')
})

test('the hash is of the signed bytes alone: junk in the wrapper changes neither it nor what is handed on', () => {
  const wrapped = new Uint8Array([...good, 0x7a, 2, 1, 1]) // unknown field 15
  const verified = judge(wrapped)
  const plain = judge(good)
  assert.ok(typeof verified === 'object' && typeof plain === 'object')
  assert.deepEqual(verified.hash, plain.hash)
  assert.deepEqual(verified.signed, good)
})

test('an unknown field that was signed stays: the exact bytes are what is verified', () => {
  const fields = parseDescriptor(parseSignedDescriptor(good)!.descriptor)!
  const extended = new Uint8Array([...encodeDescriptor(fields), 0x82, 0x01, 2, 9, 9])
  const own = makeDescriptor(testClaims(alice), TEST_RULES.network, {
    publicKey: alice.key.publicKey,
    sign: (message) => alice.key.sign(new Uint8Array([...message.subarray(0, 21), ...lengthAnd(extended)])),
  })
  const { signature } = parseSignedDescriptor(own)!
  const verdict = judge(encodeSignedDescriptor({ descriptor: extended, signature }))
  assert.ok(typeof verdict === 'object')
  assert.deepEqual(parseSignedDescriptor(verdict.signed)!.descriptor, extended)
})

/** `bytes` behind its length, as in the signature's input (§6.1). The label with its own length takes the 21 bytes before. */
function lengthAnd(bytes: Uint8Array): number[] {
  return [bytes.length & 255, bytes.length >>> 8, 0, 0, ...bytes]
}

test('the dear checks are not reached when nobody needs the descriptor', () => {
  let asked = 0
  const verdict = verifyDescriptor(good, TEST_RULES, now, () => {
    asked++
    return false
  })
  assert.equal(verdict, 'unneeded')
  assert.equal(asked, 1)
})
