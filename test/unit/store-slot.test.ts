/** What a root slot's location and signature cover: known answers, a naive twin, and everything that must not verify. Spec: SPEC.md §7.1.2. */
import assert from 'node:assert/strict'
import { createHash, createPublicKey, verify } from 'node:crypto'
import { test } from 'node:test'
import { toHex, utf8 } from '../../src/bytes/index.ts'
import { SLOT_BYTES_MAX, signSlot, slotLocation, slotSignedBytes, verifySlot } from '../../src/content/slot.ts'
import { signingKey } from '../../src/crypto/index.ts'

const key = signingKey(new Uint8Array(32).fill(7))
const value = utf8('root')
const slot = signSlot(key, 3, value)

/** SPEC.md §1's hash, spelt out: each part behind its length. */
function naive(...parts: readonly Buffer[]): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(part.length)
    hash.update(length).update(part)
  }
  return hash.digest('hex')
}

test('known answers', () => {
  assert.equal(toHex(key.publicKey), 'ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c')
  assert.equal(toHex(slotLocation(key.publicKey, 3)), '6416e043843e0fad3de70006947c4cab6e2e0eb57efb166873a3900873bdf7ae')
  assert.equal(
    toHex(slotSignedBytes(key.publicKey, 3, value)),
    '7d7c6a08e33c2ec398cfc3be8017612b0ff231e400117b098990cf23dc616fbc',
  )
  assert.equal(
    toHex(slot.signature),
    '9da8c5ff6707ef934faa61af3ddc0340cc6cd903b348c606fce4c00ced773a9d6c260c7b80f322387f8faf195b304b9356abb6a4870e5b16c857072a8609ad05',
  )
})

test('the constructions, spelt out with another library', () => {
  const three = Buffer.from([3, 0, 0, 0])
  const publicKey = Buffer.from(key.publicKey)
  assert.equal(toHex(slotLocation(key.publicKey, 3)), naive(Buffer.from('gyre/1 slot location'), publicKey, three))
  const signed = naive(Buffer.from('gyre/1 slot'), publicKey, three, Buffer.from('root'))
  assert.equal(toHex(slotSignedBytes(key.publicKey, 3, value)), signed)
  const spki = createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey]),
    format: 'der',
    type: 'spki',
  })
  assert.ok(verify(null, Buffer.from(signed, 'hex'), spki, slot.signature))
})

test('every changed bit of key, value or signature, every other slot and every wrong length fails', () => {
  assert.ok(verifySlot(slot))
  for (const field of ['publicKey', 'value', 'signature'] as const) {
    for (let bit = 0; bit < 8 * slot[field].length; bit++) {
      const changed = new Uint8Array(slot[field])
      changed[bit >> 3]! ^= 1 << (bit & 7)
      assert.equal(verifySlot({ ...slot, [field]: changed }), false)
    }
    assert.equal(verifySlot({ ...slot, [field]: slot[field].subarray(1) }), false)
  }
  for (const other of [0, 2, 4, -3, 3.5, 2 ** 32 + 3, Number.NaN]) assert.equal(verifySlot({ ...slot, slot: other }), false)
  assert.equal(verifySlot(signSlot(key, 3, new Uint8Array(0))), false)
  assert.equal(verifySlot(signSlot(key, 3, new Uint8Array(SLOT_BYTES_MAX + 1))), false)
  assert.ok(verifySlot(signSlot(key, 3, new Uint8Array(SLOT_BYTES_MAX))))
})
