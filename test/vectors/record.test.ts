/** Replays blind.json (Tor's vectors of blinding, and keys that must be refused) and record.json. Spec: SPEC.md §10. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromHex, toHex } from '../../src/bytes/index.ts'
import { parseAddress } from '../../src/content/address.ts'
import { openKeyRecord, sealKeyRecord } from '../../src/content/key-record.ts'
import {
  blindAddress,
  blindFactor,
  outerSequence,
  periodAt,
  periodStartMs,
  recordExpiryMs,
  recordPlace,
  recordSignedBytes,
  verifyRecord,
} from '../../src/content/record.ts'
import { blindPublicKey, blindSigningKey, isBlindable, signingKey, verifySignature } from '../../src/crypto/index.ts'
import { networkIdOf } from '../../src/directory/index.ts'
import { encodeKeyRecord, encodeSignedRecord, parseKeyRecord, parseSignedRecord } from '../../src/wire/index.ts'

const read = (name: string) => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'))
const bytes = (hex: string) => fromHex(hex)!
const blind = read('blind.json')
const vectors = read('record.json')
const [seed, key, network] = [bytes(vectors.seed), bytes(vectors.key), bytes(vectors.network)]
const where = (period: number) => ({ key, network, period })

/** What Tor, at the time of its vectors, made of a parameter. */
const factorOf = (param: string) =>
  new Uint8Array(createHash('sha512').update('Derive temporary signing key').update(bytes(param)).digest()).subarray(0, 32)

test("blinding gives Tor's keys, from the public and from the secret side, and they sign", async () => {
  assert.equal(blind.tor.length, 8)
  for (const { seed: secret, publicKey, param, blinded } of blind.tor) {
    const factor = factorOf(param)
    assert.equal(toHex(signingKey(bytes(secret)).publicKey), publicKey)
    assert.equal(toHex((await blindPublicKey(bytes(publicKey), factor))!), blinded)
    const signing = await blindSigningKey(bytes(secret), factor)
    assert.equal(toHex(signing.publicKey), blinded)
    for (const length of [0, 1, 32, 1000]) {
      const message = new Uint8Array(length).fill(length)
      const signature = signing.sign(message)
      assert.ok(verifySignature(signing.publicKey, message, signature))
      assert.equal(toHex(signing.sign(message)), toHex(signature))
      assert.equal(verifySignature(bytes(publicKey), message, signature), false)
    }
  }
})

test('keys of small order, of mixed order, not canonical, on no curve or of another length are refused', async () => {
  let refused = 0
  for (const [why, keys] of Object.entries<string[]>(blind.mustFail)) {
    for (const each of keys) {
      assert.equal(await isBlindable(bytes(each)), false, `${why}: ${each}`)
      assert.equal(await blindPublicKey(bytes(each), factorOf(blind.tor[0].param)), null, `${why}: ${each}`)
      refused++
    }
  }
  assert.ok(refused >= 25)
  assert.equal(await isBlindable(bytes(blind.tor[0].publicKey)), true)
})

test('periods, factors, blinded keys, offsets and places', async () => {
  assert.equal(toHex(networkIdOf('vectors')), vectors.network)
  assert.deepEqual(parseAddress(vectors.address)?.key, key)
  for (const each of vectors.periods) {
    assert.equal(periodAt(key, each.unixMs), each.period)
    assert.equal(periodStartMs(key, each.period), each.startMs)
    assert.equal(recordExpiryMs(key, each.period), each.expiresMs)
    assert.equal(toHex(blindFactor(key, network, each.period)), each.factor)
    assert.equal(toHex((await blindAddress(key, network, each.period))!), each.blinded)
    for (const [own, outside] of each.sequences) assert.equal(outerSequence(key, network, each.period, own), outside)
  }
  const now = await blindAddress(key, network, periodAt(key, vectors.nowMs))
  for (const { copy, place } of vectors.places) assert.equal(toHex(recordPlace(now!, copy)), place)
})

test('records: every byte, sealed and opened', async () => {
  const period = periodAt(key, vectors.nowMs)
  const blinded = await blindSigningKey(seed, blindFactor(key, network, period))
  for (const each of vectors.records) {
    const statement = parseKeyRecord(bytes(each.encoded))!
    assert.equal(toHex(encodeKeyRecord(statement)), each.encoded)
    assert.equal(statement.sequence, each.sequenceInside)
    const record = sealKeyRecord(where(period), blinded, statement)
    assert.equal(toHex(encodeSignedRecord(record)), each.record)
    assert.equal(record.sequence, each.sequence)
    assert.equal(record.expiresMs, each.expiresMs)
    assert.equal(toHex(record.value.subarray(0, 16)), each.salt)
    assert.equal(toHex(recordSignedBytes(record)), each.signedBytes)
    assert.equal(toHex(record.signature), each.signature)
    assert.ok(verifyRecord(parseSignedRecord(bytes(each.record))!))
    const opened = openKeyRecord(where(period), blinded.publicKey, parseSignedRecord(bytes(each.record))!, vectors.nowMs)
    assert.deepEqual(opened, statement)
  }
})

test('records that their owner signed and that are wrong all the same are refused', async () => {
  const period = periodAt(key, vectors.nowMs)
  const publicKey = (await blindAddress(key, network, period))!
  const wrong = Object.entries<string>(vectors.mustFail)
  assert.ok(wrong.length >= 20)
  for (const [why, hex] of wrong) {
    const record = parseSignedRecord(bytes(hex))!
    assert.ok(verifyRecord(record), `${why}: its signature is right`)
    assert.equal(openKeyRecord(where(period), publicKey, record, vectors.nowMs), null, why)
  }
})
