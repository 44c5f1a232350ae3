/** Replays address.json, erasure.json and content.json (made by content-make.ts). SPEC.md §7.2 to §7.5. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publishFile } from '../../client/publish.ts'
import { fromHex, type NodeId, toHex } from '../../src/bytes/index.ts'
import { formatFileAddress, parseAddress, requireAddress } from '../../src/content/address.ts'
import { bestKernel, encodeParity } from '../../src/content/erasure.ts'
import { plainKernel } from '../../src/content/gf256.ts'
import { Ranking } from '../../src/content/placement.ts'
import { encodeRoot, openRoot, parseRoot, rootHash, rootKeys, sealRoot } from '../../src/content/root.ts'
import { slotLocation } from '../../src/content/slot.ts'
import { sharesOf } from '../../src/content/spread.ts'
import { sha256 } from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeShareNetwork, never, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'
import addressVectors from './address.json' with { type: 'json' }
import contentVectors from './content.json' with { type: 'json' }
import erasureVectors from './erasure.json' with { type: 'json' }

test('addresses', () => {
  for (const { key, address } of addressVectors.file) {
    assert.equal(formatFileAddress(fromHex(key)!), address)
    assert.equal(toHex(parseAddress(address)!.key), key)
  }
  for (const [what, text] of Object.entries(addressVectors.mustFail)) {
    assert.throws(
      () => requireAddress(text),
      (error) => isOverlayError(error, 'ADDRESS_BAD'),
      what,
    )
  }
})

test('the erasure code, both kernels', () => {
  for (const { k, data, parity } of erasureVectors.codes) {
    for (const kernel of [bestKernel, plainKernel]) {
      const outputs = parity.map(() => new Uint8Array(32))
      encodeParity(
        data.map((text) => fromHex(text)!),
        k,
        outputs,
        kernel,
      )
      assert.deepEqual(outputs.map(toHex), parity)
    }
  }
})

test('shares of a segment, and placement', () => {
  for (const { holders, n } of contentVectors.sharesOf) {
    assert.deepEqual(
      n.map((_, at) => sharesOf(at + 1, holders)),
      n,
    )
  }
  const { nodes, places, order, placed } = contentVectors.placement
  const ranking = new Ranking(nodes as NodeId[])
  assert.deepEqual(ranking.order(fromHex(places[0]!)!), order)
  assert.deepEqual(ranking.place(places.map((place) => fromHex(place)!)), placed)
})

test('roots: bytes, address, keys, slots, seal', () => {
  for (const vector of contentVectors.roots) {
    const { length, spread, name, contentType } = vector
    const root = { length, spread, name, contentType, sigma: fromHex(vector.sigma)!, addresses: fromHex(vector.addresses)! }
    const bytes = encodeRoot(root)
    assert.equal(toHex(sha256(bytes)), vector.rootSha256)
    assert.deepEqual(parseRoot(bytes), root)
    const s = rootHash(bytes)
    assert.equal(formatFileAddress(s), vector.address)
    const keys = rootKeys(s)
    assert.equal(toHex(keys.signing.publicKey), vector.slotPublicKey)
    assert.equal(toHex(keys.sealing), vector.sealingKey)
    for (const { slot, location } of vector.slotLocations)
      assert.equal(toHex(slotLocation(keys.signing.publicKey, slot)), location)
    const sealed = sealRoot(keys, bytes)
    assert.equal(toHex(sha256(sealed)), vector.sealedSha256)
    assert.deepEqual(openRoot(s, keys, sealed), root)
  }
})

test('whole publications: the address, every share and slot, and where each lies', async () => {
  for (const vector of contentVectors.publications) {
    const network = new FakeShareNetwork(vector.nodes, 'vector')
    const body = seededRng(`body ${vector.bytes}`).bytes(vector.bytes)
    assert.equal(toHex(sha256(body)), vector.bodySha256)
    const options = { signal: never, name: 'vector.bin', contentType: 'text/plain' }
    const parts = { rng: seededRng('sigma'), clock: systemClock }
    const done = await publishFile(network, streamOf(body), options, parts)
    assert.deepEqual([done.address, done.shares], [vector.address, vector.shares])
    for (const [at, node] of network.nodes.entries()) {
      const held = [...node.shares.keys()].sort()
      assert.deepEqual(vector.bytes > 200_000 ? toHex(sha256(Buffer.from(held.join('')))) : held, vector.held[at])
      assert.deepEqual(
        [...node.slots.values()].flat().map(({ slot }) => slot),
        vector.slots[at],
      )
    }
  }
})
