/** Checks of shares and slots against vectors that another program wrote from SPEC.md §7.1.7. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromHex, toHex, utf8 } from '../../src/bytes/index.ts'
import { provesShare, shareProof, slotProof, slotValueHash } from '../../src/content/proof.ts'
import { shareAddress } from '../../src/content/share.ts'
import { encodeStoreReply, encodeStoreRequest, parseStoreReply, parseStoreRequest } from '../../src/wire/index.ts'

interface Vectors {
  readonly nonce: string
  readonly share: { readonly address: string; readonly proof: string }
  readonly slot: { readonly location: string; readonly valueHash: string; readonly proof: string }
  readonly requests: { readonly checkShare: string; readonly checkSlot: string }
  readonly reply: string
  readonly mustFail: Readonly<Record<string, string>>
  readonly mustFailReplies: Readonly<Record<string, string>>
}

const vectors = JSON.parse(readFileSync(new URL('./check.json', import.meta.url), 'utf8')) as Vectors
const bytes = (hex: string) => fromHex(hex)!
const nonce = bytes(vectors.nonce)
const share = Uint8Array.from({ length: 65_536 }, (_, at) => 7 * at + Math.floor(at / 256))
const value = utf8('root'.repeat(50))
const work = new Uint8Array(0)

test('proofs are those of the vectors, and change with nonce and bytes', () => {
  assert.equal(toHex(shareAddress(share)), vectors.share.address)
  assert.equal(toHex(shareProof(nonce, share)), vectors.share.proof)
  assert.equal(toHex(slotValueHash(value)), vectors.slot.valueHash)
  assert.equal(toHex(slotProof(nonce, value)), vectors.slot.proof)
  const proof = bytes(vectors.share.proof)
  assert.ok(provesShare(proof, nonce, share))
  assert.equal(
    provesShare(
      proof,
      nonce.map((byte) => byte ^ 1),
      share,
    ),
    false,
  )
  assert.equal(
    provesShare(
      proof,
      nonce,
      share.map((byte, at) => (at === 65_535 ? byte ^ 1 : byte)),
    ),
    false,
  )
  assert.equal(provesShare(proof.subarray(1), nonce, share), false)
})

test('requests and replies are spelled as in the vectors', () => {
  const checkShare = { kind: 'check-share', address: bytes(vectors.share.address), nonce, keepHours: 720, work } as const
  const { location, valueHash } = vectors.slot
  const slot = { location: bytes(location), valueHash: bytes(valueHash) }
  const checkSlot = { kind: 'check-slot', ...slot, nonce, keepHours: 5, work } as const
  for (const [request, spelled] of [
    [checkShare, vectors.requests.checkShare],
    [checkSlot, vectors.requests.checkSlot],
  ] as const) {
    assert.equal(toHex(encodeStoreRequest(request)), spelled)
    assert.deepEqual(parseStoreRequest(bytes(spelled)), request)
  }
  const reply = { share: null, slots: [], proof: bytes(vectors.share.proof) }
  assert.equal(toHex(encodeStoreReply(reply)), vectors.reply)
  assert.deepEqual(parseStoreReply(bytes(vectors.reply)), reply)
})

test('what must fail fails', () => {
  for (const [what, spelled] of Object.entries(vectors.mustFail)) assert.equal(parseStoreRequest(bytes(spelled)), null, what)
  for (const [what, spelled] of Object.entries(vectors.mustFailReplies)) assert.equal(parseStoreReply(bytes(spelled)), null, what)
})
