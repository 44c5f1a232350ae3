/** Onion keys: in memory only, changed in time, wiped in time, each with its own bounded replay cache. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ONION_KEY_LIFE_MS, ONION_KEY_OVERLAP_MS, OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { openSetUp, ReplayCache } from '../../src/circuit/setup/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { NO_REPLAY_CACHE, NOW, surroundings, type TestNode, testLoop, testNode } from '../support/setup-loops.ts'

const HOUR = 3_600_000

function ring(clock = new FakeClock(), seed = 1, replayEntries?: number): OnionKeyRing {
  return new OnionKeyRing({ clock, rng: seededRng(seed), ...(replayEntries === undefined ? {} : { replayEntries }) })
}

describe('the key ring', () => {
  test('publishes one object until the keys change, with the next key id and other keys', () => {
    const clock = new FakeClock()
    const keys = ring(clock)
    const first = keys.published
    assert.equal(keys.published, first)
    assert.equal(keys.tick(), false)
    clock.advanceNow(ONION_KEY_LIFE_MS)
    assert.equal(keys.tick(), true)
    assert.equal(keys.tick(), false)
    const second = keys.published
    assert.equal(second.kid, (first.kid + 1) % 256)
    assert.notDeepEqual(second.x25519, first.x25519)
    assert.notDeepEqual(second.mlkem768, first.mlkem768)
  })

  test('takes the old key for one hour more, and not a moment longer even if no tick comes', () => {
    const clock = new FakeClock()
    const keys = ring(clock)
    const old = keys.published.kid
    const pair = keys.find(old)!
    clock.advanceNow(ONION_KEY_LIFE_MS)
    keys.tick()
    clock.advanceNow(ONION_KEY_OVERLAP_MS - 1)
    assert.equal(keys.find(old), pair)
    assert.ok(pair.x25519.some((byte) => byte !== 0))
    clock.advanceNow(1)
    assert.equal(keys.find(old), null)
    assert.ok(
      pair.x25519.every((byte) => byte === 0),
      'the X25519 key is overwritten',
    )
    assert.notEqual(keys.find(keys.published.kid), null)
  })

  test('a key that nobody replaced stops working after life and overlap', () => {
    const clock = new FakeClock()
    const keys = ring(clock)
    clock.advanceNow(7 * HOUR - 1)
    assert.notEqual(keys.find(keys.published.kid), null)
    clock.advanceNow(1)
    assert.equal(keys.find(keys.published.kid), null)
    assert.equal(keys.tick(), true)
    assert.notEqual(keys.find(keys.published.kid), null)
  })

  test('a wall clock set back does not lengthen a life; one set forward (or a sleep) shortens it', () => {
    const clock = new FakeClock()
    const keys = ring(clock)
    clock.jumpWallClock(-100 * HOUR)
    clock.advanceNow(ONION_KEY_LIFE_MS)
    assert.equal(keys.tick(), true)
    const other = ring(clock)
    clock.jumpWallClock(ONION_KEY_LIFE_MS)
    assert.equal(other.tick(), true)
  })

  test('holds two pairs at most over a day', () => {
    const clock = new FakeClock()
    const keys = ring(clock)
    for (let minute = 0; minute < 24 * 60; minute++) {
      clock.advanceNow(60_000)
      keys.tick()
      const valid = Array.from({ length: 256 }, (_, kid) => keys.find(kid)).filter((pair) => pair !== null)
      assert.ok(valid.length >= 1 && valid.length <= 2)
    }
  })

  test('a full replay cache refuses, and brings new keys early, but never more than two pairs', () => {
    const clock = new FakeClock()
    const keys = ring(clock, 1, 8)
    const rng = seededRng(2)
    const fill = () =>
      Array.from({ length: 12 }, () => keys.claim(keys.published.kid, rng.bytes(32))).filter((done) => done).length
    assert.equal(fill(), 8)
    assert.equal(keys.tick(), true, 'early')
    assert.equal(fill(), 8)
    assert.equal(keys.tick(), false, 'the pair before is still accepted')
    assert.equal(keys.claim(keys.published.kid, rng.bytes(32)), false, 'fails closed until then')
    clock.advanceNow(ONION_KEY_OVERLAP_MS)
    assert.equal(keys.tick(), true)
    assert.equal(keys.claim(keys.published.kid, rng.bytes(32)), true)
  })

  test('after close there is no key, and publishing one is a fault', () => {
    const keys = ring()
    const { kid } = keys.published
    const pair = keys.find(kid)!
    keys.close()
    keys.close()
    assert.equal(keys.find(kid), null)
    assert.equal(keys.tick(), false)
    assert.equal(keys.claim(kid, new Uint8Array(32)), false)
    assert.throws(() => keys.published)
    assert.equal(pair.replay.admit(new Uint8Array(32)), 'full', 'a wiped cache refuses all')
  })
})

describe('a packet sent twice', () => {
  /** A loop whose first hop has the ring's keys. */
  function loopThrough(keys: OnionKeyRing) {
    const rng = seededRng(5)
    const hop: TestNode = { ...testNode(rng), onion: keys.published }
    return testLoop({ hops: 3, rng, nodes: [hop, ...Array.from({ length: 3 }, () => testNode(rng))] })
  }

  test('is dropped the second time, during the overlap too', () => {
    const clock = new FakeClock(NOW)
    const keys = ring(clock)
    const loop = loopThrough(keys)
    const around = surroundings(loop, 0, { onionKeys: keys })
    assert.equal(openSetUp(loop.built.packet, around).ok, true)
    assert.deepEqual(openSetUp(loop.built.packet, around), { ok: false, reason: 'replayed' })
    clock.advanceNow(ONION_KEY_LIFE_MS)
    keys.tick()
    assert.deepEqual(openSetUp(loop.built.packet, around), { ok: false, reason: 'replayed' })
    clock.advanceNow(ONION_KEY_OVERLAP_MS)
    assert.deepEqual(openSetUp(loop.built.packet, around), { ok: false, reason: 'unknown-key' })
  })

  test('is dropped after a restart, whatever key id the new ring starts from', () => {
    const clock = new FakeClock(NOW)
    const before = ring(clock, 1)
    const loop = loopThrough(before)
    const around = surroundings(loop, 0, { onionKeys: before })
    assert.equal(openSetUp(loop.built.packet, around).ok, true)
    before.close()
    assert.deepEqual(openSetUp(loop.built.packet, surroundings(loop, 0, { onionKeys: ring(clock, 7) })), {
      ok: false,
      reason: 'unknown-key',
    })
    // The same id by chance: other keys, which open nothing.
    assert.deepEqual(openSetUp(loop.built.packet, surroundings(loop, 0, { onionKeys: ring(clock, 1) })), {
      ok: false,
      reason: 'unopened',
    })
  })

  test('the origin’s own packet, sent to it again, is a replay and not a set-up to pass on', () => {
    const clock = new FakeClock(NOW)
    const keys = ring(clock)
    const loop = loopThrough(keys)
    const ephemeral = loop.built.packet.subarray(2, 34)
    assert.equal(keys.claim(keys.published.kid, ephemeral), true)
    assert.deepEqual(openSetUp(loop.built.packet, surroundings(loop, 0, { onionKeys: keys })), { ok: false, reason: 'replayed' })
  })

  test('control: without a cache it would be passed on again', () => {
    const keys = ring(new FakeClock(NOW))
    const loop = loopThrough(keys)
    const pair = { ...keys.find(keys.published.kid)!, replay: NO_REPLAY_CACHE }
    const around = surroundings(loop, 0, { onionKeys: { find: () => pair } })
    assert.equal(openSetUp(loop.built.packet, around).ok, true)
    assert.equal(openSetUp(loop.built.packet, around).ok, true)
  })
})

describe('the replay cache', () => {
  test('forgets nothing as it grows, and stops at its limit', () => {
    const limit = 40_000 // more than two segments
    const cache = new ReplayCache(seededRng(1).bytes(32), limit)
    const rng = seededRng(2)
    const seen = Array.from({ length: limit }, () => rng.bytes(32))
    for (const [at, ephemeral] of seen.entries()) {
      assert.equal(cache.admit(ephemeral), 'fresh')
      if (at % 97 === 0) assert.equal(cache.admit(seen[at >> 1]!), 'seen')
    }
    for (const ephemeral of seen) assert.equal(cache.admit(ephemeral), 'seen')
    assert.equal(cache.admit(rng.bytes(32)), 'full')
    assert.equal(cache.admit(seen[0]!), 'seen')
    assert.equal(cache.size, limit)
    assert.equal(cache.pressure, 1)
  })

  test('tells ephemerals that differ in one bit apart', () => {
    const cache = new ReplayCache(seededRng(3).bytes(32))
    const ephemeral = seededRng(4).bytes(32)
    assert.equal(cache.admit(ephemeral), 'fresh')
    for (let bit = 0; bit < 256; bit++) {
      const other = ephemeral.slice()
      other[bit >> 3]! ^= 1 << (bit & 7)
      assert.equal(cache.admit(other), 'fresh')
    }
  })
})
