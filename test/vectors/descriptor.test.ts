/** Replays `descriptor.json`: network ids, work, hashes, signed bytes, the framing of control messages, and what must fail. Spec: SPEC.md §3.4, §6.1. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fromHex, nodeIdBytes, nodeIdOf, parseNodeId, toHex, type UnixMs } from '../../src/bytes/index.ts'
import { signingKey, verifyWork } from '../../src/crypto/index.ts'
import {
  ControlReassembler,
  DESCRIPTOR_WORK_BITS,
  DESCRIPTOR_WORK_LABEL,
  makeDescriptor,
  networkIdOf,
  toControlBodies,
  verifyDescriptor,
  workBinding,
} from '../../src/directory/index.ts'
import { encodeControl, parseControl } from '../../src/wire/index.ts'

const vectors = JSON.parse(readFileSync(new URL('./descriptor.json', import.meta.url), 'utf8'))
const hex = (text: string) => fromHex(text)!

test('network ids', () => {
  for (const { name, id } of vectors.networks) assert.equal(toHex(networkIdOf(name)), id)
})

test('a descriptor: work, exact bytes, hash', () => {
  for (const vector of vectors.descriptors) {
    const key = signingKey(hex(vector.seed))
    const network = networkIdOf(vector.network)
    assert.equal(nodeIdOf(key.publicKey), vector.node)
    assert.equal(toHex(workBinding(network, key.publicKey)), vector.workBinding)
    assert.ok(verifyWork(DESCRIPTOR_WORK_LABEL, hex(vector.workBinding), hex(vector.claims.work), DESCRIPTOR_WORK_BITS))
    const { onion, work, neighbours, family, ...plain } = vector.claims
    const claims = {
      ...plain,
      work: hex(work),
      onion: { kid: onion.kid, x25519: hex(onion.x25519), mlkem768: hex(onion.mlkem768) },
      neighbours: neighbours.map(parseNodeId),
      family: family.map(parseNodeId),
    }
    const signed = makeDescriptor(claims, network, key)
    assert.equal(toHex(signed), vector.signed)
    const rules = { network, workBits: DESCRIPTOR_WORK_BITS }
    const verified = verifyDescriptor(signed, rules, plain.publishedMs as UnixMs)
    assert.ok(typeof verified === 'object')
    assert.equal(toHex(verified.hash), vector.hash)
    assert.equal(toHex(nodeIdBytes(verified.descriptor.id)), vector.node)
    for (const { why, signed: bytes, verdict, nowMs } of vector.mustFail) {
      assert.equal(verifyDescriptor(hex(bytes), rules, (nowMs ?? plain.publishedMs) as UnixMs), verdict, why)
    }
  }
})

test('control messages in cells', () => {
  for (const { message, bodies } of vectors.control) {
    const parsed = parseControl(hex(message))
    assert.ok(parsed)
    assert.equal(toHex(encodeControl(parsed)), message)
    assert.deepEqual(toControlBodies(hex(message)).map(shorten), bodies)
  }
  for (const { why, bodies } of vectors.controlMustFail) {
    const reassembler = new ControlReassembler()
    const results = bodies.map((body: string) => reassembler.take(lengthen(body)))
    assert.equal(results.at(-1), 'malformed', why)
  }
})

/** A body without its trailing zeros, as the file has it. */
function shorten(body: Uint8Array): string {
  return toHex(body).replace(/(00)+$/, '')
}

function lengthen(text: string): Uint8Array {
  const body = new Uint8Array(2043)
  body.set(hex(text))
  return body
}
