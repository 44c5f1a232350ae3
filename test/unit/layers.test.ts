/**
 * The layers of a loop (PROTOCOL §1): against the naive twin, over all loop lengths and addressees; recognition by the addressee alone;
 * P6 (any changed bit is noise to everybody, changed back or not); the ratchet where its two sides differ; wiping.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES } from '../../src/cell/index.ts'
import { COUNTER_END, HopLayer, isRecognised, OriginLayers, RATCHET_CELLS } from '../../src/circuit/index.ts'
import { CELL_CIPHER_BYTES, type CellCipher, openCellCipher } from '../../src/crypto/index.ts'
import { TURN_CELLS } from '../../src/link/index.ts'
import { type NaiveKeys, naiveHop, naiveReceive, naiveSend } from '../support/naive-layers.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

const cipher = await openCellCipher()

/** A loop of `hops` other members; the origin is addressee `hops + 1`. */
function loopOf(hops: number, rng: SeededRng) {
  const keys: NaiveKeys = {
    k: Array.from({ length: hops }, () => rng.bytes(32)),
    a: Array.from({ length: hops }, () => rng.bytes(32)),
    own: rng.bytes(32),
  }
  const secrets = keys.k.map((cellKey, at) => ({ cellKey, answerKey: keys.a[at]! }))
  const members = secrets.map((secret) => new HopLayer(cipher, secret))
  return { keys, members, origin: new OriginLayers(cipher, secrets, keys.own) }
}

/** M for content: 16 zero bytes, then `content`. */
function plain(content: Uint8Array): Uint8Array {
  const m = new Uint8Array(BODY_BYTES)
  m.set(content.subarray(0, BODY_BYTES - 16), 16)
  return m
}

/** A batch of cells, its offsets, and the counters from `from` on. */
function batchOf(bodies: readonly Uint8Array[], from: number) {
  const cells = new Uint8Array(bodies.length * CELL_BYTES)
  const offsets = Int32Array.from(bodies, (_, at) => at * CELL_BYTES)
  const counters = Uint32Array.from(bodies, (_, at) => from + at)
  for (const [at, body] of bodies.entries()) cells.set(body, at * CELL_BYTES + CELL_HEADER_BYTES)
  const body = (at: number) => cells.subarray(at * CELL_BYTES + CELL_HEADER_BYTES, (at + 1) * CELL_BYTES)
  return { cells, offsets, counters, count: bodies.length, body }
}

type Batch = ReturnType<typeof batchOf>
const args = ({ cells, offsets, counters, count }: Batch) => [cells, offsets, counters, count] as const

/** What one hop does to a batch: peels, answers what it recognises, and says which cells that were. */
function pass(layer: HopLayer, batch: Batch, answer: Uint8Array): number[] {
  layer.peel(...args(batch))
  const mine: number[] = []
  for (let cell = 0; cell < batch.count; cell++) {
    if (!isRecognised(batch.cells, batch.offsets[cell]! + CELL_HEADER_BYTES)) continue
    mine.push(cell)
    batch.body(cell).set(answer)
  }
  layer.seal(
    batch.cells,
    Int32Array.from(mine, (cell) => batch.offsets[cell]!),
    Uint32Array.from(mine, (cell) => batch.counters[cell]!),
    mine.length,
  )
  return mine
}

/** Sends a batch all the way round. Returns who recognised what, and whether the origin recognised each cell. */
function sendRound(
  loop: ReturnType<typeof loopOf>,
  addressee: number,
  batch: Batch,
  answerOf: (hop: number) => Uint8Array,
  meddle: (batch: Batch, beforeHop: number) => void = () => {},
) {
  const recognisedBy: number[][] = []
  loop.origin.wrap(addressee, ...args(batch))
  for (const [at, member] of loop.members.entries()) {
    meddle(batch, at + 1)
    recognisedBy.push(pass(member, batch, answerOf(at + 1)))
  }
  meddle(batch, loop.members.length + 1)
  loop.origin.open(addressee, ...args(batch))
  const home = Array.from(batch.offsets, (offset) => isRecognised(batch.cells, offset + CELL_HEADER_BYTES))
  return { recognisedBy, home }
}

test('the cipher and the cell agree on the length of a body', () => {
  assert.equal(CELL_CIPHER_BYTES, BODY_BYTES)
})

test('every step of a cell is what the naive twin gives, for all loop lengths and addressees', () => {
  const rng = seededRng('twin')
  for (let hops = 3; hops <= 11; hops++) {
    const loop = loopOf(hops, rng)
    for (let addressee = 1; addressee <= hops + 1; addressee++) {
      const counter = addressee - 1
      const m = plain(rng.bytes(2027))
      const answer = plain(rng.bytes(2027))
      const batch = batchOf([m], counter)
      loop.origin.wrap(addressee, ...args(batch))
      let x = naiveSend(cipher, loop.keys, addressee, counter, m)
      assert.deepEqual(batch.body(0), x)
      for (let hop = 1; hop <= hops; hop++) {
        const step = naiveHop(cipher, loop.keys, hop, counter, x, answer)
        assert.equal(step.recognised, hop === addressee)
        if (step.recognised) assert.deepEqual(step.y, m)
        assert.deepEqual(pass(loop.members[hop - 1]!, batch, answer), step.recognised ? [0] : [])
        assert.deepEqual(batch.body(0), step.onward)
        x = step.onward
      }
      const expected = naiveReceive(cipher, loop.keys, addressee, counter, x)
      assert.deepEqual(expected, addressee > hops ? m : answer)
      loop.origin.open(addressee, ...args(batch))
      assert.deepEqual(batch.body(0), expected)
    }
  }
})

test('batches, several cells and mixed addressees: each hop recognises what is addressed to it and nothing else', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 3, max: 11 }),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: TURN_CELLS })), { minLength: 1, maxLength: 4 }),
      fc.nat(),
      (hops, turns, seed) => {
        const rng = seededRng(seed)
        const loop = loopOf(hops, rng)
        const answers = Array.from({ length: hops + 1 }, () => plain(rng.bytes(64)))
        let counter = 0
        for (const [draw, count] of turns) {
          const addressee = 1 + (draw % (hops + 1))
          const bodies = Array.from({ length: count }, () => plain(rng.bytes(100)))
          const batch = batchOf(bodies, counter)
          const { recognisedBy, home } = sendRound(loop, addressee, batch, (hop) => answers[hop - 1]!)
          for (let hop = 1; hop <= hops; hop++) {
            assert.deepEqual(recognisedBy[hop - 1], hop === addressee ? bodies.map((_, at) => at) : [])
          }
          assert.ok(home.every(Boolean))
          for (const [at, body] of bodies.entries()) {
            assert.deepEqual(batch.body(at), addressee > hops ? body : answers[addressee - 1])
          }
          counter += count
        }
      },
    ),
    { numRuns: 25, seed: 11 },
  )
})

test('an answer is taken from no hop but the addressee', () => {
  const rng = seededRng('impostor')
  for (const hops of [3, 5]) {
    for (let addressee = 1; addressee <= hops; addressee++) {
      for (let impostor = 1; impostor <= hops; impostor++) {
        if (impostor === addressee) continue
        const loop = loopOf(hops, rng)
        const batch = batchOf([plain(rng.bytes(50))], 0)
        loop.origin.wrap(addressee, ...args(batch))
        for (const [at, member] of loop.members.entries()) {
          pass(member, batch, plain(Uint8Array.of(1)))
          // The impostor throws away what it got and seals an answer of its own.
          if (at + 1 !== impostor) continue
          batch.body(0).set(plain(Uint8Array.of(0xbad)))
          member.seal(...args(batch))
        }
        loop.origin.open(addressee, ...args(batch))
        assert.equal(isRecognised(batch.cells, CELL_HEADER_BYTES), false, `hops ${hops}, to ${addressee}, from ${impostor}`)
      }
    }
  }
})

test('P6: one changed bit, at any place before any hop, is noise to every later member and to the origin', () => {
  const rng = seededRng('bits')
  const loop = loopOf(5, rng)
  let counter = 0
  // Every byte of the body once, all bits in turn; the rest of the space at random.
  const places = Array.from({ length: BODY_BYTES }, (_, at) => at)
  for (let from = 0; from < places.length; from += TURN_CELLS) {
    const turn = places.slice(from, from + TURN_CELLS)
    const addressee = 1 + rng.below(6)
    const before = 1 + rng.below(6)
    const batch = batchOf(
      turn.map(() => plain(rng.bytes(30))),
      counter,
    )
    const { recognisedBy, home } = sendRound(
      loop,
      addressee,
      batch,
      () => plain(Uint8Array.of(7)),
      (cells, hop) => {
        if (hop !== before) return
        for (const [cell, at] of turn.entries()) cells.body(cell)[at]! ^= 1 << rng.below(8)
      },
    )
    const where = `seed "bits": to ${addressee}, changed before ${before}, from byte ${from}`
    for (let hop = before; hop <= 5; hop++) assert.deepEqual(recognisedBy[hop - 1], [], where)
    assert.ok(
      home.every((known) => !known),
      where,
    )
    // Noise: no byte of the content shines through. 32 cells of 2043 bytes, expected share of zeros 1/256.
    let zeros = 0
    for (let cell = 0; cell < batch.count; cell++) for (const byte of batch.body(cell)) if (byte === 0) zeros++
    assert.ok(zeros < (batch.count * BODY_BYTES) / 128, where)
    counter += batch.count
  }
})

test('P6: what one colluder marks, a later one cannot unmark', () => {
  const rng = seededRng('colluders')
  for (let hops = 3; hops <= 11; hops += 2) {
    for (let first = 1; first <= hops; first++) {
      for (let second = first + 1; second <= hops + 1; second++) {
        // Addressed behind the second: between the two lies at least one honest layer, or the mark is undone by whoever made it.
        const addressee = hops + 1
        const loop = loopOf(hops, rng)
        const batch = batchOf([plain(rng.bytes(40))], 0)
        const mark = rng.bytes(BODY_BYTES)
        const { home } = sendRound(
          loop,
          addressee,
          batch,
          () => plain(Uint8Array.of(1)),
          (cells, before) => {
            if (before !== first && before !== second) return
            const body = cells.body(0)
            for (let at = 0; at < BODY_BYTES; at++) body[at]! ^= mark[at]!
          },
        )
        assert.deepEqual(home, [false])
      }
    }
  }
})

test('cells out of order, twice, or from another loop are noise', () => {
  const rng = seededRng('order')
  const loop = loopOf(4, rng)
  const other = loopOf(4, rng)
  const wrapped = (from: number) => {
    const batch = batchOf([plain(Uint8Array.of(1)), plain(Uint8Array.of(2))], from)
    loop.origin.wrap(2, ...args(batch))
    return batch
  }
  const recognised = (member: HopLayer, batch: Batch) => pass(member, batch, plain(Uint8Array.of(9)))
  const swapped = wrapped(0)
  const held = swapped.body(0).slice()
  swapped.body(0).set(swapped.body(1))
  swapped.body(1).set(held)
  loop.members[0]!.peel(...args(swapped))
  assert.deepEqual(recognised(loop.members[1]!, swapped), [])
  const twice = wrapped(2)
  twice.body(1).set(twice.body(0))
  loop.members[0]!.peel(...args(twice))
  assert.deepEqual(recognised(loop.members[1]!, twice), [0])
  const foreign = wrapped(4)
  for (const member of other.members) assert.deepEqual(recognised(member, foreign), [])
})

test('ratchet: equal to the twin on both sides of each boundary, and in a batch across it', () => {
  const rng = seededRng('ratchet')
  const loop = loopOf(3, rng)
  for (const from of [RATCHET_CELLS - 3, 2 * RATCHET_CELLS - 2, 3 * RATCHET_CELLS, 5 * RATCHET_CELLS - 1]) {
    const bodies = Array.from({ length: 6 }, () => plain(rng.bytes(20)))
    const answer = plain(rng.bytes(20))
    const batch = batchOf(bodies, from)
    const expected = bodies.map((m, at) => naiveSend(cipher, loop.keys, 2, from + at, m))
    loop.origin.wrap(2, ...args(batch))
    for (const [at, x] of expected.entries()) assert.deepEqual(batch.body(at), x)
    pass(loop.members[0]!, batch, answer)
    assert.equal(pass(loop.members[1]!, batch, answer).length, 6)
    pass(loop.members[2]!, batch, answer)
    for (const [at, x] of expected.entries()) {
      let y = x
      for (let hop = 1; hop <= 3; hop++) y = naiveHop(cipher, loop.keys, hop, from + at, y, answer).onward
      assert.deepEqual(batch.body(at), y)
    }
    loop.origin.open(2, ...args(batch))
    for (let at = 0; at < 6; at++) assert.deepEqual(batch.body(at), answer)
  }
})

test('ratchet: the origin sends in the next generation while cells of the last one are still coming home', () => {
  const rng = seededRng('two generations')
  const loop = loopOf(5, rng)
  const answer = plain(rng.bytes(20))
  const old = batchOf(
    Array.from({ length: 4 }, () => plain(rng.bytes(20))),
    RATCHET_CELLS - 4,
  )
  loop.origin.wrap(3, ...args(old))
  for (const member of loop.members) pass(member, old, answer)
  // The next ones go out, and even round, before the old ones are opened.
  const next = batchOf(
    Array.from({ length: 4 }, () => plain(rng.bytes(20))),
    RATCHET_CELLS,
  )
  loop.origin.wrap(5, ...args(next))
  for (const member of loop.members) pass(member, next, answer)
  loop.origin.open(3, ...args(old))
  loop.origin.open(5, ...args(next))
  for (let at = 0; at < 4; at++) {
    assert.deepEqual(old.body(at), answer)
    assert.deepEqual(next.body(at), answer)
  }
})

test('ratchet: a hop first addressed generations later answers with the key of that generation', () => {
  const rng = seededRng('late')
  const loop = loopOf(3, rng)
  const answer = plain(rng.bytes(20))
  for (const [from, addressee] of [
    [0, 4],
    [4 * RATCHET_CELLS + 7, 2],
    [9 * RATCHET_CELLS - 1, 3],
  ] as const) {
    const m = plain(rng.bytes(9))
    const batch = batchOf([m, m], from)
    const { home } = sendRound(loop, addressee, batch, () => answer)
    assert.deepEqual(home, [true, true])
    assert.deepEqual(batch.body(1), addressee === 4 ? m : answer)
  }
})

test('the last counters of a loop are usable', () => {
  const rng = seededRng('end')
  // One key chain on each side: all 65,535 steps of the ratchet take a while.
  const loop = loopOf(1, rng)
  const m = plain(Uint8Array.of(1))
  const batch = batchOf([m], COUNTER_END - 1)
  loop.origin.wrap(1, ...args(batch))
  loop.members[0]!.peel(...args(batch))
  assert.deepEqual(batch.body(0), m)
})

/** The cell cipher, with a count of prepared keys that were not wiped yet. */
function countingCipher() {
  let live = 0
  const counting: CellCipher = {
    implementation: cipher.implementation,
    key(secret) {
      const key = cipher.key(secret)
      live++
      return {
        encipher: (...batch) => key.encipher(...batch),
        decipher: (...batch) => key.decipher(...batch),
        encipherAny: (message, tweak) => key.encipherAny(message, tweak),
        decipherAny: (message, tweak) => key.decipherAny(message, tweak),
        wipe() {
          live--
          key.wipe()
        },
      }
    },
  }
  return { counting, live: () => live }
}

test('ratchet: keys of a generation that is over are wiped, also those that nothing needs any more', () => {
  const rng = seededRng('forward secrecy')
  const { counting, live } = countingCipher()
  const secrets = Array.from({ length: 3 }, () => ({ cellKey: rng.bytes(32), answerKey: rng.bytes(32) }))
  const cell = (counter: number) => batchOf([plain(Uint8Array.of(1))], counter)
  const hop = new HopLayer(counting, secrets[0]!)
  hop.peel(...args(cell(5)))
  hop.seal(...args(cell(5)))
  assert.equal(live(), 2)
  hop.peel(...args(cell(RATCHET_CELLS + 5)))
  assert.equal(live(), 1, 'the answer key of the first generation is gone although no answer was sealed since')
  hop.wipe()
  const origin = new OriginLayers(counting, secrets, rng.bytes(32))
  origin.wrap(3, ...args(cell(5)))
  origin.open(1, ...args(cell(5)))
  assert.equal(live(), 3 + 3)
  origin.wrap(1, ...args(cell(RATCHET_CELLS + 5)))
  assert.equal(live(), 1 + 3)
  origin.open(3, ...args(cell(RATCHET_CELLS + 5)))
  assert.equal(live(), 1 + 1)
  origin.wipe()
  assert.equal(live(), 0)
})

test('wiped layers do nothing more, and wiping twice does no harm', () => {
  const rng = seededRng('wipe')
  const loop = loopOf(3, rng)
  const batch = batchOf([plain(Uint8Array.of(1))], 0)
  sendRound(loop, 2, batch, () => plain(Uint8Array.of(2)))
  loop.origin.wipe()
  loop.origin.wipe()
  for (const member of loop.members) {
    member.wipe()
    member.wipe()
  }
  // Above all no work under a key of zeros.
  assert.throws(() => loop.origin.wrap(2, ...args(batch)), /wiped/)
  assert.throws(() => loop.origin.open(2, ...args(batch)), /wiped/)
  assert.throws(() => loop.members[0]!.peel(...args(batch)), /wiped/)
  assert.throws(() => loop.members[0]!.seal(...args(batch)), /wiped/)
})

test("the secrets that layers are made from stay the caller's, and may be wiped at once", () => {
  const rng = seededRng('copies')
  const secrets = { cellKey: rng.bytes(32), answerKey: rng.bytes(32) }
  const kept = { cellKey: secrets.cellKey.slice(), answerKey: secrets.answerKey.slice() }
  const early = new HopLayer(cipher, secrets)
  secrets.cellKey.fill(0)
  secrets.answerKey.fill(0)
  const late = new HopLayer(cipher, kept)
  const a = batchOf([plain(Uint8Array.of(1))], 3)
  const b = batchOf([plain(Uint8Array.of(1))], 3)
  early.peel(...args(a))
  late.peel(...args(b))
  assert.deepEqual(a.cells, b.cells)
})
