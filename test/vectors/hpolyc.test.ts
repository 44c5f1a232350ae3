/**
 * Both cell ciphers, and the textbook twin that the unit tests trust, over the published HPolyC-XChaCha20-AES256 vectors, in both
 * directions. Provenance: test/vectors/README.md. Spec: SPEC.md §4.1.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { fromHex, toHex } from '../../src/bytes/index.ts'
import { openCellCipher } from '../../src/crypto/index.ts'
import { naiveHpolyc } from '../support/naive-hpolyc.ts'

interface Vector {
  readonly key: string
  readonly tweak: string
  readonly plaintext: string
  readonly ciphertext: string
}

const file = new URL('hpolyc-xchacha20-aes256.json', import.meta.url)
const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as { readonly vectors: readonly Vector[] }
const hex = (text: string): Uint8Array => fromHex(text) ?? assert.fail('bad hex in a vector file')

test('the file is whole: 54 vectors, tweaks of 0, 17 and 32 bytes, messages of 16 to 4096', () => {
  assert.equal(vectors.length, 54)
  assert.deepEqual([...new Set(vectors.map(({ tweak }) => tweak.length / 2))], [0, 17, 32])
  assert.deepEqual([...new Set(vectors.map(({ plaintext }) => plaintext.length / 2))], [16, 31, 128, 512, 1536, 4096])
})

test('textbook twin', () => {
  for (const { key, tweak, plaintext, ciphertext } of vectors) {
    assert.equal(toHex(naiveHpolyc('encipher', hex(key), hex(tweak), hex(plaintext))), ciphertext)
    assert.equal(toHex(naiveHpolyc('decipher', hex(key), hex(tweak), hex(ciphertext))), plaintext)
  }
})

for (const implementation of ['sodium-native', 'libsodium-wasm'] as const) {
  const cipher = await openCellCipher(implementation)
  const skip = cipher.implementation === implementation ? false : `${implementation} does not load here`
  suite(implementation, { skip }, () => {
    test('enciphers and deciphers every vector', () => {
      for (const { key, tweak, plaintext, ciphertext } of vectors) {
        const prepared = cipher.key(hex(key))
        assert.equal(toHex(prepared.encipherAny(hex(plaintext), hex(tweak))), ciphertext)
        assert.equal(toHex(prepared.decipherAny(hex(ciphertext), hex(tweak))), plaintext)
        prepared.wipe()
      }
    })
  })
}
