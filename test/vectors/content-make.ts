/**
 * Writes address.json, erasure.json and content.json beside this file. They are our own vectors (no other implementation exists): made
 * once, read by a person against SPEC.md §7.2 to §7.5, and replayed by content.test.ts since. Run it only when the format changes:
 * `node test/vectors/content-make.ts`.
 */
import { writeFileSync } from 'node:fs'
import { publishFile } from '../../client/publish.ts'
import { toHex } from '../../src/bytes/index.ts'
import { formatFileAddress, parseAddress } from '../../src/content/address.ts'
import { encodeParity } from '../../src/content/erasure.ts'
import { plainKernel } from '../../src/content/gf256.ts'
import { shapeOf } from '../../src/content/layout.ts'
import { Ranking } from '../../src/content/placement.ts'
import { encodeRoot, rootHash, rootKeys, sealRoot } from '../../src/content/root.ts'
import { slotLocation } from '../../src/content/slot.ts'
import { sharesOf } from '../../src/content/spread.ts'
import { sha256 } from '../../src/crypto/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { FakeShareNetwork, never, streamOf } from '../support/fake-share-network.ts'
import { seededRng } from '../support/seeded-rng.ts'

const write = (name: string, value: object) =>
  writeFileSync(new URL(name, import.meta.url), `${JSON.stringify(value, null, 2)}\n`)
const provenance = 'Own vectors of Gyre, made by test/vectors/content-make.ts.'
const counting = (length: number, step: number) => Uint8Array.from({ length }, (_, at) => at * step)

const keys = [new Uint8Array(32), new Uint8Array(32).fill(0xff), counting(32, 7)]
const good = formatFileAddress(keys[2]!)
/** The text that spells `good` with another last byte of key material, so that only the checksum is wrong. */
const mustFail = {
  'too short': good.slice(1),
  'too long': `${good}a`,
  'character outside the alphabet': `1${good.slice(1)}`,
  'padding character': `${good.slice(0, -1)}=`,
  'one character changed': `${good[0] === 'a' ? 'b' : 'a'}${good.slice(1)}`,
  'two neighbours exchanged': `${good.slice(0, 9)}${good[10]}${good[9]}${good.slice(11)}`,
  'space in front': ` ${good.slice(1)}`,
}
for (const text of Object.values(mustFail)) if (parseAddress(text) !== null) throw new Error(`not wrong: ${text}`)
write('address.json', {
  provenance,
  file: keys.map((key) => ({ key: toHex(key), address: formatFileAddress(key) })),
  mustFail,
  mustFailCode: 'ADDRESS_BAD',
})

const codes = [
  [1, 4],
  [3, 9],
  [10, 30],
].map(([k, n]) => {
  const data = Array.from({ length: k! }, (_, j) => counting(32, 2 * j + 1))
  const parity = Array.from({ length: n! - k! }, () => new Uint8Array(32))
  encodeParity(data, k!, parity, plainKernel)
  return { k, n, data: data.map(toHex), parity: parity.map(toHex) }
})
write('erasure.json', { provenance, polynomial: '0x11d', codes })

const rootOf = (length: number, spread: number, name: string, contentType: string) => {
  const addresses = seededRng(`root ${length}`).bytes(shapeOf(length, spread).at(-1)!.addressBytes)
  const bytes = encodeRoot({ sigma: counting(32, 1), length, spread, name, contentType, addresses })
  const s = rootHash(bytes)
  const { signing, sealing } = rootKeys(s)
  return {
    ...{ sigma: toHex(counting(32, 1)), length, spread, name, contentType, addresses: toHex(addresses) },
    rootSha256: toHex(sha256(bytes)),
    address: formatFileAddress(s),
    slotPublicKey: toHex(signing.publicKey),
    slotLocations: [0, 1, 4].map((slot) => ({ slot, location: toHex(slotLocation(signing.publicKey, slot)) })),
    sealingKey: toHex(sealing),
    sealedSha256: toHex(sha256(sealRoot({ signing, sealing }, bytes))),
  }
}

const publications = []
for (const [bytes, nodes] of [
  [0, 8],
  [1, 4],
  [100_000, 8],
  [700_000, 8],
  [10_600_000, 40],
] as const) {
  const network = new FakeShareNetwork(nodes, 'vector')
  const body = seededRng(`body ${bytes}`).bytes(bytes)
  const options = { signal: never, name: 'vector.bin', contentType: 'text/plain' }
  const { address, shares } = await publishFile(network, streamOf(body), options, { rng: seededRng('sigma'), clock: systemClock })
  const held = network.nodes.map((node) => [...node.shares.keys()].sort())
  publications.push({
    ...{ bytes, nodes, bodySha256: toHex(sha256(body)), address, shares },
    /** Node by node; of a large publication the hash of the sorted list. */
    held: bytes > 200_000 ? held.map((list) => toHex(sha256(Buffer.from(list.join(''))))) : held,
    slots: network.nodes.map((node) => [...node.slots.values()].flat().map(({ slot }) => slot)),
  })
}
const nodes = new FakeShareNetwork(8, 'vector').nodes.map((node) => node.id)
const places = Array.from({ length: 12 }, (_, at) => counting(32, at + 3))
write('content.json', {
  provenance,
  seeds: 'Nodes: FakeShareNetwork(count, "vector"); body: seededRng("body <bytes>"); publisher: seededRng("sigma").',
  sharesOf: [4, 8, 16, 23, 30, 31, 255].map((holders) => ({
    holders,
    n: Array.from({ length: 10 }, (_, at) => sharesOf(at + 1, holders)),
  })),
  placement: {
    nodes,
    places: places.map(toHex),
    order: new Ranking(nodes).order(places[0]!),
    placed: new Ranking(nodes).place(places),
  },
  roots: [
    rootOf(0, 8, '', 'application/octet-stream'),
    rootOf(123_456_789, 8, 'Grüße.txt', 'text/plain; charset=utf-8'),
    rootOf(2 ** 40, 40, 'x', 'a/b'),
  ],
  publications,
})
