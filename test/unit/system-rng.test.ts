/** The operating system's randomness as it is handed out: nothing twice. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../src/bytes/index.ts'
import { systemRng } from '../../src/runtime/index.ts'

test('scratch bytes are never handed out twice, also across the draws that they come from', () => {
  const seen = new Set<string>()
  for (let draw = 0; draw < 200; draw++) {
    const bytes = systemRng.scratch(2043)
    assert.equal(bytes.length, 2043)
    for (let at = 0; at + 16 <= bytes.length; at += 16) seen.add(toHex(bytes.subarray(at, at + 16)))
  }
  assert.equal(seen.size, 200 * Math.floor(2043 / 16))
})

test('all lengths that may be asked for come', () => {
  for (const length of [0, 1, 65_535, 65_536]) assert.equal(systemRng.scratch(length).length, length)
  assert.throws(() => systemRng.scratch(65_537), RangeError)
})

test('bytes are their caller’s own', () => {
  const one = systemRng.bytes(32)
  const kept = toHex(one)
  systemRng.bytes(32)
  systemRng.scratch(65_536)
  assert.equal(toHex(one), kept)
  assert.equal(one.buffer.byteLength, 32)
})
