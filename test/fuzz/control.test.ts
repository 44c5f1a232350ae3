/**
 * Fuzzers of everything that parses a neighbour's control bytes: framing, control messages, descriptors, and the whole gossip machine.
 * Seeded; each runs for a fixed time (`FUZZ_MS`, 2 s) over mutations of good input. None may throw or answer out of bounds.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type MonotonicMs, toHex, type UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES } from '../../src/cell/index.ts'
import {
  ControlReassembler,
  Directory,
  Gossip,
  makeDescriptor,
  toControlBodies,
  verifyDescriptor,
} from '../../src/directory/index.ts'
import {
  CONTROL_BYTES_MAX,
  encodeControl,
  encodeHopReply,
  encodeHopRequest,
  encodeSignedDescriptor,
  encodeStoreReply,
  encodeStoreRequest,
  parseControl,
  parseDescriptor,
  parseHopReply,
  parseHopRequest,
  parseSignedDescriptor,
  parseStoreReply,
  parseStoreRequest,
} from '../../src/wire/index.ts'
import { TEST_RULES, testClaims, testDescriptor, testNode } from '../support/directory.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { counted } from '../support/fuzzing.ts'
import { SeededRng } from '../support/seeded-rng.ts'

const FUZZ_MS = Number(process.env.FUZZ_MS ?? 2_000)
/** Before the number of each round: other runs. */
const SEED = process.env.FUZZ_SEED === undefined ? '' : `${process.env.FUZZ_SEED} `
const node = testNode(1)
const signed = testDescriptor(node, { neighbours: [testNode(2).id] })
const hash = new Uint8Array(32).fill(7)
const slot = { publicKey: hash, slot: 3, value: new Uint8Array(100), signature: new Uint8Array(64) }

const CONTROL_SEEDS = [
  encodeControl({ kind: 'hello', version: 1, network: TEST_RULES.network, purpose: 'guest', descriptor: signed }),
  encodeControl({ kind: 'welcome', accepted: true }),
  encodeControl({ kind: 'digest', buckets: new Uint8Array(2048).fill(9) }),
  encodeControl({ kind: 'listing', buckets: Uint8Array.of(1, 2, 200), hashes: new Uint8Array(96).fill(3) }),
  encodeControl({ kind: 'want', hashes: new Uint8Array(64) }),
  encodeControl({ kind: 'descriptors', descriptors: [signed, signed] }),
]
const OTHER_SEEDS = [
  encodeHopRequest({ kind: 'ping', filler: hash, answerBytes: 5 }),
  encodeHopRequest({ kind: 'store', request: encodeStoreRequest({ kind: 'get-share', address: hash }) }),
  encodeHopReply({ status: 'busy', body: hash }),
  encodeStoreRequest({ kind: 'put-slot', ...slot, keepHours: 5, work: new Uint8Array(8) }),
  encodeStoreRequest({ kind: 'get-slot', location: hash }),
  encodeStoreReply({ share: null, slots: [slot, slot] }),
  encodeStoreRequest({ kind: 'check-share', address: hash, nonce: hash.slice(16), keepHours: 5, work: new Uint8Array(8) }),
  encodeStoreRequest({
    kind: 'check-slot',
    location: hash,
    valueHash: hash,
    nonce: hash.slice(16),
    keepHours: 5,
    work: new Uint8Array(0),
  }),
  encodeStoreReply({ share: null, slots: [], proof: hash }),
]

/** Runs `once` with a seeded source until the time is over. A failure names the round, which together with the seed repeats it. */
function fuzz(t: TestContext, seed: string, once: (rng: SeededRng) => void): void {
  const end = performance.now() + FUZZ_MS
  let round = 0
  for (; performance.now() < end; round++) {
    try {
      once(new SeededRng(`${seed} ${SEED}${round}`))
    } catch (error) {
      throw new Error(`fuzz '${seed} ${SEED}', round ${round}`, { cause: error })
    }
  }
  counted(round)
  t.diagnostic(`${round} rounds`)
}

/** A good input, changed in a few ways that break protobuf and framing: bits, lengths, cuts, repeats, splices. */
function mutate(seeds: readonly Uint8Array[], rng: SeededRng): Uint8Array {
  let bytes = seeds[rng.below(seeds.length)]!.slice()
  for (let changes = 1 + rng.below(4); changes > 0; changes--) {
    const at = rng.below(bytes.length + 1)
    const other = seeds[rng.below(seeds.length)]!
    switch (rng.below(6)) {
      case 0:
        if (at < bytes.length) bytes[at]! ^= 1 << rng.below(8)
        break
      case 1:
        if (at < bytes.length) bytes[at] = [0, 0x7f, 0x80, 0xff, 0x0a, 0x12][rng.below(6)]!
        break
      case 2:
        bytes = bytes.slice(0, at)
        break
      case 3:
        bytes = new Uint8Array([...bytes.subarray(0, at), ...rng.bytes(rng.below(12)), ...bytes.subarray(at)])
        break
      case 4:
        bytes = new Uint8Array([...bytes.subarray(0, at), ...other.subarray(rng.below(other.length))])
        break
      case 5:
        bytes = new Uint8Array([...bytes, ...bytes.subarray(at)])
        break
    }
  }
  return bytes
}

test('the wire parsers are total, and what they accept is in bounds', (t) => {
  fuzz(t, 'wire', (rng) => {
    const bytes = mutate([...CONTROL_SEEDS, ...OTHER_SEEDS, signed, parseSignedDescriptor(signed)!.descriptor], rng)
    const control = parseControl(bytes)
    if (control?.kind === 'descriptors') assert.ok(control.descriptors.every(({ length }) => length >= 1 && length <= 4096))
    if (control?.kind === 'hello') assert.equal(control.network.length, 32)
    if (control?.kind === 'listing') assert.equal(control.hashes.length % 32, 0)
    const descriptor = parseDescriptor(bytes)
    if (descriptor) assert.ok(descriptor.onion.mlkem768.length === 1184 && descriptor.neighbours.length <= 16)
    for (const parse of [parseSignedDescriptor, parseHopRequest, parseHopReply, parseStoreRequest, parseStoreReply]) parse(bytes)
    // What is accepted says the same after it was encoded again.
    if (control) assert.deepEqual(parseControl(encodeControl(control)), control)
  })
})

test('no mutation of a signed descriptor is accepted as something that was not signed', (t) => {
  const exact = parseSignedDescriptor(signed)!.descriptor
  fuzz(t, 'descriptor', (rng) => {
    const verified = verifyDescriptor(mutate([signed], rng), TEST_RULES, FakeClock.START_UNIX_MS as UnixMs)
    if (typeof verified === 'object') assert.deepEqual(parseSignedDescriptor(verified.signed)!.descriptor, exact)
  })
})

test('cells in any order and shape: a message of at most 64 KiB, or malformed for good', (t) => {
  fuzz(t, 'cells', (rng) => {
    const reassembler = new ControlReassembler()
    let broken = false
    for (let message = 0; message < 4; message++) {
      for (const body of toControlBodies(rng.bytes(1 + rng.below(9_000)))) {
        if (rng.below(12) === 0) body[rng.below(4)]! ^= 1 << rng.below(8)
        if (rng.below(40) === 0) continue
        if (rng.below(60) === 0) body[rng.below(BODY_BYTES)] = rng.below(256)
        const result = reassembler.take(body)
        if (broken) assert.equal(result, 'malformed')
        broken = result === 'malformed'
        if (typeof result === 'object') assert.ok(result.length >= 1 && result.length <= CONTROL_BYTES_MAX)
      }
    }
  })
})

test('whatever a neighbour says, gossip answers in bounds and keeps only what was signed', (t) => {
  const known = Array.from({ length: 12 }, (_, seed) => testDescriptor(testNode(seed + 10)))
  const strangers = Array.from({ length: 40 }, (_, seed) => testDescriptor(testNode(seed + 100)))
  const lies = [
    ...strangers,
    makeDescriptor(testClaims(node), new Uint8Array(32), node.key),
    testDescriptor(node, { publishedMs: (FakeClock.START_UNIX_MS + 3_600_000) as UnixMs }),
    encodeSignedDescriptor({ ...parseSignedDescriptor(signed)!, signature: new Uint8Array(64) }),
  ]
  // `signed` is among the seeds of `mutate`, which may leave it whole.
  const honest = new Set([...known, ...strangers, signed].map(toHex))
  fuzz(t, 'gossip', (rng) => {
    const clock = new FakeClock()
    const directory = new Directory({ rules: TEST_RULES, clock, self: node.id })
    for (const each of known) directory.add(each)
    const gossip = new Gossip<string>(directory, rng)
    let now = 0 as MonotonicMs
    const check = (effects: ReturnType<typeof gossip.onMessage>) => {
      for (const effect of effects) {
        if ('close' in effect) return gossip.linkDown(effect.close)
        assert.ok(parseControl(encodeControl(effect.send)), 'what is sent keeps to the limits')
      }
      assert.ok(effects.length <= 16)
    }
    check(gossip.linkUp('liar', rng.below(2) === 0, now))
    check(gossip.linkUp('other', rng.below(2) === 0, now))
    for (let step = 0; step < 12; step++) {
      now = (now + rng.below(4_000)) as MonotonicMs
      clock.advanceNow(now - clock.monotonicMs())
      const descriptors = Array.from({ length: 1 + rng.below(5) }, () => lies[rng.below(lies.length)]!)
      const said = rng.below(3) === 0 ? parseControl(mutate(CONTROL_SEEDS, rng)) : ({ kind: 'descriptors', descriptors } as const)
      if (said) check(gossip.onMessage('liar', said, now))
      check(gossip.tick(now))
    }
    for (const kept of directory.signed()) assert.ok(honest.has(toHex(kept)), 'only what its own node signed is kept')
  })
})
