/** Padding, levels and where addresses lie. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CONTENT_BYTES_MAX, LEVELS_MAX, ROOT_ADDRESSES_BYTES, SHARE_BYTES } from '../../src/content/constants.ts'
import { paddedLength, shapeOf } from '../../src/content/layout.ts'

const lengths = fc.oneof(
  fc.nat(1 << 22),
  fc.integer({ min: 0, max: CONTENT_BYTES_MAX }),
  fc.nat(44).map((bits) => 2 ** bits),
)

test('Padmé: at most 12 % more, never less, idempotent, monotone, few different lengths', () => {
  fc.assert(
    fc.property(lengths, (length) => {
      const padded = paddedLength(length)
      assert.ok(Number.isInteger(padded) && padded >= length && padded <= length * 1.12)
      assert.equal(paddedLength(padded), padded)
      if (length > 0) assert.ok(paddedLength(length - 1) <= padded)
    }),
    { seed: 1, numRuns: 2000 },
  )
  assert.deepEqual([0, 1, 9, 100, 1000, 65_537, 1_000_003].map(paddedLength), [0, 1, 10, 104, 1024, 67_584, 1_015_808])
})

test('a shape: blocks hold the padded content, each level the addresses of the one below, the root the last', () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 255 }), (length, spread) => {
      const levels = shapeOf(length, spread)
      assert.ok(levels.length <= 1 + LEVELS_MAX)
      let bytes = Math.max(1, paddedLength(length))
      for (const [at, level] of levels.entries()) {
        assert.equal(level.level, at)
        assert.equal(level.blocks, Math.ceil(bytes / SHARE_BYTES))
        const last = level.segment(level.segments - 1)
        assert.ok(last.k >= 1 && last.k <= 10)
        assert.equal((level.segments - 1) * 10 + last.k, level.blocks)
        bytes = level.addressBytes
        assert.equal(bytes <= ROOT_ADDRESSES_BYTES, at === levels.length - 1)
        if (level.segments > 1) assert.equal(level.segment(1).addressesAt, level.segment(0).n * 32)
      }
    }),
    { seed: 2, numRuns: 500 },
  )
  assert.deepEqual(
    shapeOf(0, 8).map((level) => level.blocks),
    [1],
  )
  assert.deepEqual(
    shapeOf(100 * 1024 * 1024, 8).map((level) => level.blocks),
    [1600, 3],
  )
  assert.equal(shapeOf(2 ** 40, 8).length, 3, 'a TiB has two index levels')
  assert.equal(shapeOf(CONTENT_BYTES_MAX, 255).length, 4)
  for (const [length, spread] of [
    [-1, 8],
    [0.5, 8],
    [CONTENT_BYTES_MAX + 1, 8],
    [1, 0],
    [1, 256],
  ] as const) {
    assert.throws(() => shapeOf(length, spread), RangeError)
  }
})
