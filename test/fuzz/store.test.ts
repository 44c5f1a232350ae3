/** The store's service on hostile bytes: random ones, and valid requests with bytes changed, cut or added. It always answers. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openStore, type StoreAnswer, storeService } from '../../relay/store/index.ts'
import { concat, piecesOf } from '../../src/bytes/index.ts'
import { slotValueHash } from '../../src/content/proof.ts'
import { isShareOf, shareAddress } from '../../src/content/share.ts'
import { signSlot, slotLocation, verifySlot } from '../../src/content/slot.ts'
import { signingKey } from '../../src/crypto/index.ts'
import { encodeStoreRequest, parseStoreReply } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { counted } from '../support/fuzzing.ts'
import { roughen } from '../support/mutate.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = process.env.FUZZ_SEED ?? 1
const FOR_MS = Number(process.env.FUZZ_MS ?? 3_000)
const ROUNDS_MAX = 200_000
const STATUSES = new Set(['ok', 'not-found', 'refused', 'busy', 'bad-request'])

const rng = seededRng(SEED)
const none = new Uint8Array(0)
const share = rng.bytes(65_536)
const slot = signSlot(signingKey(rng.bytes(32)), 1, rng.bytes(300))
const valid = [
  encodeStoreRequest({ kind: 'put-share', share, keepHours: 5, work: none }),
  encodeStoreRequest({ kind: 'get-share', address: shareAddress(share) }),
  encodeStoreRequest({ kind: 'put-slot', ...slot, keepHours: 5, work: none }),
  encodeStoreRequest({ kind: 'get-slot', location: slotLocation(slot.publicKey, 1) }),
  encodeStoreRequest({ kind: 'check-share', address: shareAddress(share), nonce: rng.bytes(16), keepHours: 5, work: none }),
  encodeStoreRequest({
    kind: 'check-slot',
    location: slotLocation(slot.publicKey, 1),
    valueHash: slotValueHash(slot.value),
    nonce: rng.bytes(16),
    keepHours: 5,
    work: none,
  }),
]

/** Whatever is answered with `ok` and a body holds right shares and slots only. */
function check({ status, body }: StoreAnswer): void {
  assert.ok(STATUSES.has(status), `seed ${SEED}: status ${status}`)
  if (status !== 'ok') assert.equal(body.length, 0)
  const reply = parseStoreReply(concat(...piecesOf(body)))
  assert.ok(reply !== null, `seed ${SEED}: an answer that its reader refuses`)
  for (const each of reply.slots) assert.ok(verifySlot(each))
}

test(`the service answers ${FOR_MS} ms of hostile requests (seed ${SEED})`, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-fuzz-'))
  const store = await openStore({ dir, quotaBytes: 32 * 65_536, clock: new FakeClock(), log: { warn: () => {} } })
  t.after(async () => {
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  const answer = storeService(store, { clock: new FakeClock() })
  for (const request of valid) check(await answer(request))
  const end = performance.now() + FOR_MS
  let rounds = 0
  while (performance.now() < end && rounds++ < ROUNDS_MAX) {
    counted(1)
    const request = roughen(valid, rng)
    const before = new Uint8Array(request)
    check(await answer(request))
    assert.ok(
      before.every((byte, at) => request[at] === byte),
      `seed ${SEED}: the request was changed`,
    )
  }
  assert.ok(store.stats().bytes <= store.quotaBytes)
  const still = await answer(valid[1]!)
  assert.equal(still.status, 'ok')
  assert.ok(isShareOf(parseStoreReply(concat(...piecesOf(still.body)))!.share!, shareAddress(share)))
})
