/**
 * The cell ciphers against the textbook twin, at random lengths, tweaks and batches; diffusion (P6); keys that are wiped; the choice of
 * an implementation. Published vectors: test/vectors/hpolyc.test.ts.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { concat, le32, le64 } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES } from '../../src/cell/index.ts'
import { worksAsKnown } from '../../src/crypto/cipher-choice.ts'
import {
  ANSWER_DOMAIN,
  CELL_CIPHER_BYTES,
  CELL_DOMAIN,
  CELL_KEY_BYTES,
  type CellCipher,
  type CellKey,
  CIPHER_BATCH_MAX,
  openCellCipher,
} from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { TURN_CELLS } from '../../src/link/index.ts'
import { naiveHpolyc } from '../support/naive-hpolyc.ts'
import { seededRng } from '../support/seeded-rng.ts'

const IMPLEMENTATIONS = ['sodium-native', 'libsodium-wasm'] as const
const SEED = 2018
/** Bodies in consecutive cells, as links hand them over. */
const OFFSETS = Int32Array.from({ length: TURN_CELLS }, (_, cell) => cell * CELL_BYTES + CELL_HEADER_BYTES)

const bytes = (min: number, max: number) => fc.uint8Array({ minLength: min, maxLength: max })
const secret = bytes(CELL_KEY_BYTES, CELL_KEY_BYTES)
const domain = fc.constantFrom(CELL_DOMAIN, ANSWER_DOMAIN)
const isBug = (error: unknown) => isOverlayError(error, 'INTERNAL') && error.kind === 'bug'

test('the constants that the layers above own are the same there', () => {
  assert.equal(CELL_CIPHER_BYTES, BODY_BYTES)
  assert.equal(CIPHER_BATCH_MAX, TURN_CELLS)
})

for (const implementation of IMPLEMENTATIONS) {
  const cipher = await openCellCipher(implementation)
  const skip = cipher.implementation === implementation ? false : `${implementation} does not load here`

  suite(implementation, { skip }, () => {
    test('any message and tweak: as the textbook twin, both ways', () => {
      const lengths = fc.oneof(fc.integer({ min: 16, max: 200 }), fc.constantFrom(2043, 4095, 4096))
      const message = lengths.chain((length) => bytes(length, length))
      fc.assert(
        fc.property(secret, message, bytes(0, 32), (keyBytes, plain, tweak) => {
          const key = cipher.key(keyBytes)
          const expected = naiveHpolyc('encipher', keyBytes, tweak, plain)
          assert.deepEqual(key.encipherAny(plain, tweak), expected)
          assert.deepEqual(key.decipherAny(expected, tweak), plain)
          assert.deepEqual(key.decipherAny(plain, tweak), naiveHpolyc('decipher', keyBytes, tweak, plain))
        }),
        { seed: SEED, numRuns: 60 },
      )
    })

    test('batches: each body as the textbook twin, nothing else in the buffer touched', () => {
      const cell = fc.record({
        counter: fc.oneof(fc.constantFrom(0, 0xffff, 0x1_0000, 0xffff_ffff), fc.integer({ min: 0, max: 0xffff_ffff })),
        gap: fc.integer({ min: 0, max: 20 }),
      })
      const batch = fc.array(cell, { minLength: 1, maxLength: 5 })
      fc.assert(
        fc.property(secret, batch, domain, fc.boolean(), fc.integer(), (keyBytes, cells, d, enciphering, fill) => {
          const offsets = new Int32Array(cells.length)
          let end = 0
          cells.forEach(({ gap }, at) => {
            offsets[at] = end + gap
            end += gap + BODY_BYTES
          })
          const buffer = seededRng(fill).bytes(end + 3)
          const expected = buffer.slice()
          const direction = enciphering ? 'encipher' : 'decipher'
          cells.forEach(({ counter }, at) => {
            const body = buffer.slice(offsets[at], offsets[at]! + BODY_BYTES)
            expected.set(naiveHpolyc(direction, keyBytes, concat(le64(counter), le32(d)), body), offsets[at])
          })
          const key = cipher.key(keyBytes)
          key[direction](
            buffer,
            offsets,
            Uint32Array.from(cells, ({ counter }) => counter),
            cells.length,
            d,
          )
          assert.deepEqual(buffer, expected)
        }),
        { seed: SEED, numRuns: 25 },
      )
    })

    test('a full batch goes there and back, and is the sum of its single cells', () => {
      const rng = seededRng(SEED)
      const key = cipher.key(rng.bytes(CELL_KEY_BYTES))
      const original = rng.bytes(TURN_CELLS * CELL_BYTES)
      const counters = Uint32Array.from({ length: TURN_CELLS }, (_, at) => 65_520 + at)
      const together = original.slice()
      key.encipher(together, OFFSETS, counters, TURN_CELLS, ANSWER_DOMAIN)
      const apart = original.slice()
      for (let at = 0; at < TURN_CELLS; at++) {
        key.encipher(apart, OFFSETS.subarray(at), counters.subarray(at), 1, ANSWER_DOMAIN)
      }
      assert.deepEqual(together, apart)
      key.decipher(together, OFFSETS, counters, TURN_CELLS, ANSWER_DOMAIN)
      assert.deepEqual(together, original)
    })

    test('keys of one cipher do not disturb each other, and the caller may wipe its secret', () => {
      const rng = seededRng(SEED)
      const secrets = Array.from({ length: 3 }, () => rng.bytes(CELL_KEY_BYTES))
      const keys = secrets.map((own) => {
        const copy = own.slice()
        const key = cipher.key(copy)
        copy.fill(0)
        return key
      })
      const plain = rng.bytes(BODY_BYTES)
      const tweak = concat(le64(3), le32(CELL_DOMAIN))
      for (let round = 0; round < 2; round++) {
        keys.forEach((key, at) => {
          assert.deepEqual(oneCell(key, plain, 3), naiveHpolyc('encipher', secrets[at]!, tweak, plain))
        })
      }
    })

    test('another counter or domain is another permutation', () => {
      const key = cipher.key(new Uint8Array(CELL_KEY_BYTES).fill(5))
      const body = new Uint8Array(BODY_BYTES)
      const seen = [
        oneCell(key, body, 0),
        oneCell(key, body, 1),
        oneCell(key, body, 0x1_0000),
        oneCell(key, body, 0, ANSWER_DOMAIN),
      ]
      assert.equal(new Set(seen.map((enciphered) => Buffer.from(enciphered).toString('hex'))).size, seen.length)
    })

    test('P6: any flipped bit changes the whole body, in both directions', () => {
      const rng = seededRng(SEED)
      const key = cipher.key(rng.bytes(CELL_KEY_BYTES))
      const body = rng.bytes(BODY_BYTES)
      const flips = fc.oneof(fc.nat(8 * BODY_BYTES - 1), fc.constantFrom(0, 127, 128, 8 * 2027 - 1, 8 * 2027, 8 * BODY_BYTES - 1))
      fc.assert(
        fc.property(flips, fc.constantFrom('encipher', 'decipher'), (bit, direction) => {
          const counters = Uint32Array.of(7)
          const whole = body.slice()
          const marked = body.slice()
          marked[bit >> 3]! ^= 1 << (bit & 7)
          key[direction](whole, Int32Array.of(0), counters, 1, CELL_DOMAIN)
          key[direction](marked, Int32Array.of(0), counters, 1, CELL_DOMAIN)
          // 16344 fair coins: mean 8172, deviation 64. Six deviations either way; and every 64th of the body on its own.
          const changed = bitsChanged(whole, marked, 0, BODY_BYTES)
          assert.ok(Math.abs(changed - 8172) < 6 * 64, `${changed} bits changed`)
          for (let at = 0; at + 32 <= BODY_BYTES; at += 32) {
            const part = bitsChanged(whole, marked, at, at + 32)
            assert.ok(part > 128 - 56 && part < 128 + 56, `${part} of 256 bits changed at ${at}`)
          }
        }),
        { seed: SEED, numRuns: 200 },
      )
    })

    test('what two colluders mark and unmark around an honest hop stays noise', () => {
      const rng = seededRng(SEED)
      const [first, honest] = [cipher.key(rng.bytes(32)), cipher.key(rng.bytes(32))]
      const clean = rng.bytes(BODY_BYTES)
      const marked = clean.slice()
      marked[100]! ^= 1
      const through = (body: Uint8Array) => decipherOne(honest, body, 9)
      const unmarked = through(marked)
      unmarked[100]! ^= 1
      const expected = decipherOne(first, through(clean), 9)
      assert.ok(bitsChanged(decipherOne(first, unmarked, 9), expected, 0, BODY_BYTES) > 8172 - 6 * 64)
    })

    test('a wiped key refuses to work rather than cipher under zeros', () => {
      const key = cipher.key(new Uint8Array(CELL_KEY_BYTES).fill(1))
      oneCell(key, new Uint8Array(BODY_BYTES), 0)
      decipherOne(key, new Uint8Array(BODY_BYTES), 0)
      key.wipe()
      key.wipe()
      assert.throws(() => oneCell(key, new Uint8Array(BODY_BYTES), 0), isBug)
      assert.throws(() => key.decipherAny(new Uint8Array(16), new Uint8Array(0)), isBug)
    })

    test('wrong lengths, offsets and counts are refused before anything is written', () => {
      const key = cipher.key(new Uint8Array(CELL_KEY_BYTES))
      const cells = new Uint8Array(2 * CELL_BYTES)
      const before = cells.slice()
      const counters = new Uint32Array(40)
      for (const [offsets, count] of [
        [[-1], 1],
        [[2 * CELL_BYTES - BODY_BYTES + 1], 1],
        [[0], 2],
        [new Array<number>(33).fill(0), 33],
        [[0], -1],
        [[0], Number.NaN],
      ] as const) {
        assert.throws(() => key.decipher(cells, Int32Array.from(offsets), counters, count, CELL_DOMAIN), isBug)
      }
      assert.throws(() => key.decipher(cells, Int32Array.of(0, 0), counters.subarray(0, 1), 2, CELL_DOMAIN), isBug)
      key.decipher(cells, Int32Array.of(0), counters, 0, CELL_DOMAIN)
      assert.deepEqual(cells, before)
      for (const length of [0, 31, 33]) assert.throws(() => cipher.key(new Uint8Array(length)), isBug)
      for (const length of [0, 15, 4097]) assert.throws(() => key.encipherAny(new Uint8Array(length), new Uint8Array(0)), isBug)
      assert.throws(() => key.encipherAny(new Uint8Array(16), new Uint8Array(33)), isBug)
    })

    test('other body lengths work alike (the benchmark uses them)', async () => {
      for (const bodyBytes of [16, 1019, 4091]) {
        const other = await openCellCipher(implementation, bodyBytes)
        const key = other.key(new Uint8Array(32).fill(3))
        const cells = seededRng(bodyBytes).bytes(bodyBytes)
        const expected = naiveHpolyc('decipher', new Uint8Array(32).fill(3), concat(le64(1), le32(1)), cells)
        key.decipher(cells, Int32Array.of(0), Uint32Array.of(1), 1, CELL_DOMAIN)
        assert.deepEqual(cells, expected)
      }
    })
  })
}

test("libsodium-wasm goes on when the module's memory grows and moves", async () => {
  const cipher = await openCellCipher('libsodium-wasm')
  const { default: sodium } = await import('libsodium-wrappers-sumo')
  const { libsodium } = sodium as unknown as {
    libsodium: { HEAPU8: Uint8Array; _malloc(length: number): number; _free(at: number): void }
  }
  const secretBytes = new Uint8Array(32).fill(8)
  const key = cipher.key(secretBytes)
  const before = libsodium.HEAPU8
  const block = libsodium._malloc(before.length)
  assert.notEqual(block, 0)
  assert.equal(before.length, 0, 'the heap was to move')
  const body = seededRng(SEED).bytes(BODY_BYTES)
  assert.deepEqual(oneCell(key, body, 4), naiveHpolyc('encipher', secretBytes, concat(le64(4), le32(CELL_DOMAIN)), body))
  libsodium._free(block)
})

suite('choosing', () => {
  test('each preference gives a cipher that works, and the portable one is always to be had', async () => {
    assert.equal((await openCellCipher('libsodium-wasm')).implementation, 'libsodium-wasm')
    const preferred = await openCellCipher()
    assert.equal(preferred.implementation, (await openCellCipher('sodium-native')).implementation)
  })

  /** The implementation that a fresh process chooses when `require('sodium-native')` gives what `source` (CommonJS) makes. */
  function chosenWith(source: string): string {
    const hooks = `import { registerHooks } from 'node:module'
      registerHooks({
        resolve: (name, context, next) => name === 'sodium-native' ? { url: 'fake:sodium', format: 'commonjs', shortCircuit: true } : next(name, context),
        load: (url, context, next) => url === 'fake:sodium' ? { format: 'commonjs', source: ${JSON.stringify(source)}, shortCircuit: true } : next(url, context),
      })`
    const main = `import { openCellCipher } from ${JSON.stringify(new URL('../../src/crypto/index.ts', import.meta.url).href)}
      process.stdout.write((await openCellCipher()).implementation)`
    const encoded = `data:text/javascript,${encodeURIComponent(hooks)}`
    const child = spawnSync(process.execPath, ['--import', encoded, '--input-type=module', '-e', main], { encoding: 'utf8' })
    assert.equal(child.status, 0, child.stderr)
    return child.stdout
  }

  test('an addon that does not load, lacks functions or computes wrongly is passed over', () => {
    assert.equal(chosenWith("throw new Error('no build for this system')"), 'libsodium-wasm')
    assert.equal(chosenWith('module.exports = { crypto_onetimeauth () {} }'), 'libsodium-wasm')
    const wrong = 'module.exports = { crypto_onetimeauth () {}, crypto_stream_xchacha20_xor () {} }'
    assert.equal(chosenWith(wrong), 'libsodium-wasm')
  })

  test('the self-test refuses a cipher that is wrong in the batch calls, in the single ones, or throws', async () => {
    const good = await openCellCipher('libsodium-wasm')
    assert.equal(worksAsKnown(good, BODY_BYTES), true)
    const faults: ((key: CellKey) => Partial<CellKey>)[] = [
      (key) => ({
        decipher: (cells, offsets, counters, count, d) => {
          key.decipher(cells, offsets, counters, count, d)
          cells[offsets[count - 1]! + 17]! ^= 1
        },
      }),
      (key) => ({ encipher: (cells, offsets, counters, count) => key.encipher(cells, offsets, counters, count, CELL_DOMAIN) }),
      (key) => ({ encipher: (cells, offsets, counters, count, d) => key.encipher(cells, offsets, counters, count - 1, d) }),
      () => ({ encipherAny: (message) => message.slice() }),
      () => ({
        decipherAny: () => {
          throw new Error('illegal instruction')
        },
      }),
    ]
    for (const fault of faults) assert.equal(worksAsKnown(withFault(good, fault), BODY_BYTES), false)
  })
})

function withFault(good: CellCipher, fault: (key: CellKey) => Partial<CellKey>): CellCipher {
  return {
    implementation: good.implementation,
    key(own) {
      const key = good.key(own)
      const whole: CellKey = {
        encipher: (...call) => key.encipher(...call),
        decipher: (...call) => key.decipher(...call),
        encipherAny: (...call) => key.encipherAny(...call),
        decipherAny: (...call) => key.decipherAny(...call),
        wipe: () => key.wipe(),
      }
      return { ...whole, ...fault(key) }
    },
  }
}

function oneCell(
  key: CellKey,
  body: Uint8Array,
  counter: number,
  d: typeof CELL_DOMAIN | typeof ANSWER_DOMAIN = CELL_DOMAIN,
): Uint8Array {
  const copy = body.slice()
  key.encipher(copy, Int32Array.of(0), Uint32Array.of(counter), 1, d)
  return copy
}

function decipherOne(key: CellKey, body: Uint8Array, counter: number): Uint8Array {
  const copy = body.slice()
  key.decipher(copy, Int32Array.of(0), Uint32Array.of(counter), 1, CELL_DOMAIN)
  return copy
}

function bitsChanged(a: Uint8Array, b: Uint8Array, from: number, to: number): number {
  let changed = 0
  for (let at = from; at < to; at++) {
    for (let rest = a[at]! ^ b[at]!; rest !== 0; rest &= rest - 1) changed++
  }
  return changed
}
