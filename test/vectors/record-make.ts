/**
 * Writes record.json beside this file: our own vectors of SPEC.md §10 (no other implementation exists), made once and replayed by
 * record.test.ts since. Run it only when the format changes: `node test/vectors/record-make.ts`. The vectors of blinding itself are Tor's:
 * blind.json.
 */
import { writeFileSync } from 'node:fs'
import { toHex } from '../../src/bytes/index.ts'
import { formatKeyAddress } from '../../src/content/address.ts'
import { type RecordPeriod, sealKeyRecord } from '../../src/content/key-record.ts'
import {
  blindAddress,
  blindFactor,
  outerSequence,
  periodAt,
  periodStartMs,
  recordExpiryMs,
  recordPlace,
} from '../../src/content/record.ts'
import { blindSigningKey } from '../../src/crypto/index.ts'
import { networkIdOf } from '../../src/directory/index.ts'
import { encodeKeyRecord, encodeSignedRecord, type KeyRecord } from '../../src/wire/index.ts'
import { keyOfByte, naiveRecord, type Slips } from '../support/naive-record.ts'
import { seededRng } from '../support/seeded-rng.ts'

const { seed, key } = keyOfByte(7)
const network = networkIdOf('vectors')
/** 2026-01-01. */
const NOW = 1_767_225_600_000
const period = periodAt(key, NOW)
const here: RecordPeriod = { key, network, period }

const periods = []
for (const at of [0, NOW, periodStartMs(key, period) - 1, periodStartMs(key, period), periodStartMs(key, period + 1)]) {
  const number = periodAt(key, at)
  periods.push({
    ...{ unixMs: at, period: number, startMs: periodStartMs(key, number), expiresMs: recordExpiryMs(key, number) },
    factor: toHex(blindFactor(key, network, number)),
    blinded: toHex((await blindAddress(key, network, number))!),
    sequences: [1, 27_612_900, 2 ** 46 - 1].map((own) => [own, outerSequence(key, network, number, own)]),
  })
}

const rng = seededRng('record vectors')
const site = { snapshot: rng.bytes(32), version: 3, bytes: 123_456_789_012, files: 70_000 }
const service = {
  x25519: rng.bytes(32),
  mlkem768: rng.bytes(1184),
  points: [keyOfByte(1), keyOfByte(2), keyOfByte(3)].map(({ key: id }) => ({ node: toHex(id) as never, point: rng.bytes(32) })),
  ports: [80, 22, 65_535],
  effort: 12,
}
const statements: KeyRecord[] = [
  { sequence: 1, site: null, service: null },
  { sequence: 27_612_900, site, service: null },
  { sequence: 2 ** 46 - 1, site, service },
]
const records = []
for (const statement of statements) {
  const { made, plain, salt, sealing, signed } = await naiveRecord(seed, here, statement)
  const blinded = await blindSigningKey(seed, blindFactor(key, network, period))
  if (toHex(encodeSignedRecord(sealKeyRecord(here, blinded, statement))) !== toHex(encodeSignedRecord(made))) {
    throw new Error('the naive twin disagrees')
  }
  records.push({
    ...{
      sequenceInside: statement.sequence,
      parts: [statement.site ? 'site' : '', statement.service ? 'service' : ''].join(' ').trim(),
    },
    ...{ encoded: toHex(encodeKeyRecord(statement)), plainBytes: plain.length, salt: toHex(salt), sealingKey: toHex(sealing) },
    ...{ sequence: made.sequence, expiresMs: made.expiresMs, signedBytes: toHex(signed), signature: toHex(made.signature) },
    record: toHex(encodeSignedRecord(made)),
  })
}

const plainRecord = statements[1]!
const wrong: Record<string, Slips> = {
  'signed by the key of another address': { signer: keyOfByte(8).seed },
  'sealed for another address': { sealedFor: { ...here, key: keyOfByte(8).key } },
  'sealed for another network': { sealedFor: { ...here, network: networkIdOf('others') } },
  'another salt than the value begins with': {
    value: (right) => new Uint8Array([...new Uint8Array(16), ...right.subarray(16)]),
  },
  'the sequence outside is not the one inside': {
    sequence: outerSequence(key, network, period, plainRecord.sequence + 1),
  },
  'a sequence outside that is off by one': { sequence: outerSequence(key, network, period, plainRecord.sequence) + 1 },
  'sequence 0 inside': { encoded: encodeKeyRecord({ ...plainRecord, sequence: 0 }) },
  'a byte after the padding': { lastByte: 1 },
  'a length over the plaintext': { length: 3071 },
  'a length that cuts the message': { length: encodeKeyRecord(plainRecord).length - 1 },
  'no message': { encoded: new Uint8Array(40).fill(0xff) },
  'a snapshot of 31 bytes': { encoded: encodeKeyRecord({ ...plainRecord, site: { ...site, snapshot: new Uint8Array(31) } }) },
  'version 0 of a site': { encoded: encodeKeyRecord({ ...plainRecord, site: { ...site, version: 0 } }) },
  'a service without points': { encoded: encodeKeyRecord({ ...plainRecord, service: { ...service, points: [] } }) },
  'nine points': {
    encoded: encodeKeyRecord({
      ...plainRecord,
      service: { ...service, points: Array.from({ length: 9 }, () => service.points[0]!) },
    }),
  },
  'a service without ports': { encoded: encodeKeyRecord({ ...plainRecord, service: { ...service, ports: [] } }) },
  'port 0': { encoded: encodeKeyRecord({ ...plainRecord, service: { ...service, ports: [0] } }) },
  'port 65536': { encoded: encodeKeyRecord({ ...plainRecord, service: { ...service, ports: [65_536] } }) },
  'a port twice': { encoded: encodeKeyRecord({ ...plainRecord, service: { ...service, ports: [80, 80] } }) },
  '33 bits of effort': { encoded: encodeKeyRecord({ ...plainRecord, service: { ...service, effort: 33 } }) },
  'an ML-KEM key of 1183 bytes': {
    encoded: encodeKeyRecord({ ...plainRecord, service: { ...service, mlkem768: new Uint8Array(1183) } }),
  },
  'expired a millisecond ago': { expiresMs: NOW },
}
const mustFail: Record<string, string> = {}
for (const [why, slips] of Object.entries(wrong)) {
  mustFail[why] = toHex(encodeSignedRecord((await naiveRecord(seed, here, plainRecord, slips)).made))
}

const blindedNow = (await blindAddress(key, network, period))!
const value = {
  provenance: 'Own vectors of Gyre, made by test/vectors/record-make.ts. Network: the id of the name "vectors".',
  ...{ seed: toHex(seed), key: toHex(key), address: formatKeyAddress(key), network: toHex(network), nowMs: NOW },
  periods,
  places: [0, 1, 15].map((copy) => ({ copy, place: toHex(recordPlace(blindedNow, copy)) })),
  records,
  mustFail,
}
writeFileSync(new URL('record.json', import.meta.url), `${JSON.stringify(value, null, 2)}\n`)
