/**
 * The primitives over published known answers: RFC 4231, 5869, 7748, 8032, 8439 and Project Wycheproof, and what each of them must
 * refuse. Provenance: test/vectors/README.md. Spec: SPEC.md §1.2.
 */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { concat, fromHex, le32, le64, toHex, utf8 } from '../../src/bytes/index.ts'
import {
  chacha20Keystream,
  chacha20Xor,
  equalSecret,
  hkdfExpand,
  hkdfExtract,
  hmacSha256,
  mlkemDecapsulate,
  mlkemEncapsulate,
  mlkemFromSeed,
  mlkemGenerate,
  mlkemPublic,
  openOnce,
  sealOnce,
  sha256,
  signingKey,
  taggedHash,
  verifySignature,
  x25519,
  x25519FromSecret,
  x25519Generate,
  x25519Secret,
} from '../../src/crypto/index.ts'
import { naiveChacha20, naiveHchacha20, naivePoly1305, toLittle } from '../support/naive-hpolyc.ts'

interface Rfc {
  hmac: { vectors: { key: string; data: string; mac: string }[] }
  hkdf: { vectors: { ikm: string; salt: string; info: string; prk: string; okm: string }[] }
  x25519: { products: { private: string; public: string; shared: string }[]; iterated: { once: string; thousand: string } }
  ed25519: { vectors: { seed: string; public: string; message: string; signature: string }[] }
  chacha20: { vectors: { key: string; at: number; keystream: string }[] }
  aead: {
    key: string
    nonce: string
    aad: string
    plaintext: string
    ciphertext: string
    tag: string
    poly1305: { key: string; message: string; tag: string }
  }
}
interface Wycheproof {
  x25519: { tcId: number; flags: string[]; public: string; private: string; shared: string }[]
  ed25519: { tcId: number; public: string; msg: string; sig: string; valid: boolean }[]
  hkdfSha256: { tcId: number; ikm: string; salt: string; info: string; okm: string }[]
  mlkem768: { tcId: number; seed: string; ek: string; c: string; K: string }[]
  mlkem768BadKeys: { tcId: number; ek: string }[]
}

const load = (name: string): unknown => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'))
const rfc = load('rfc.json') as Rfc
const wycheproof = load('wycheproof.json') as Wycheproof
const hex = (text: string): Uint8Array => fromHex(text) ?? assert.fail('bad hex in a vector file')

suite('hashes', () => {
  test('HMAC-SHA-256: RFC 4231', () => {
    for (const { key, data, mac } of rfc.hmac.vectors) {
      assert.equal(toHex(hmacSha256(hex(key), hex(data))), mac)
      assert.equal(toHex(hmacSha256(hex(key), hex(data).subarray(0, 3), hex(data).subarray(3))), mac, 'in parts')
    }
  })

  test('HMAC-SHA-256 at every key length round the block: as node:crypto', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 140 }), fc.uint8Array({ maxLength: 200 }), (key, data) => {
        assert.equal(toHex(hmacSha256(key, data)), createHmac('sha256', key).update(data).digest('hex'))
      }),
      { seed: 2104, examples: [0, 1, 63, 64, 65, 128].map((length) => [new Uint8Array(length).fill(0xaa), new Uint8Array(3)]) },
    )
  })

  test('SHA-256: FIPS 180-4 example, whole and in parts', () => {
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert.equal(toHex(sha256(utf8('abc'))), abc)
    assert.equal(toHex(sha256(utf8('a'), utf8(''), utf8('bc'))), abc)
  })

  test('HKDF-SHA-256: RFC 5869 and Wycheproof', () => {
    for (const { ikm, salt, info, prk, okm } of rfc.hkdf.vectors) {
      assert.equal(toHex(hkdfExtract(hex(salt), hex(ikm))), prk)
      assert.equal(toHex(hkdfExpand(hex(prk), hex(info), okm.length / 2)), okm)
    }
    for (const { tcId, ikm, salt, info, okm } of wycheproof.hkdfSha256) {
      assert.equal(toHex(hkdfExpand(hkdfExtract(hex(salt), hex(ikm)), hex(info), okm.length / 2)), okm, `tcId ${tcId}`)
    }
  })

  test('a tagged hash is SHA-256 over length-prefixed label and parts; moving a byte over a border changes it', () => {
    const expected = sha256(le32(1), utf8('l'), le32(2), utf8('ab'), le32(0), le32(1), utf8('c'))
    assert.deepEqual(taggedHash('l', utf8('ab'), utf8(''), utf8('c')), expected)
    const others = [
      taggedHash('l', utf8('a'), utf8(''), utf8('bc')),
      taggedHash('l', utf8('ab'), utf8('c')),
      taggedHash('l', utf8('ab'), utf8('c'), utf8('')),
      taggedHash('la', utf8('b'), utf8(''), utf8('c')),
    ]
    for (const other of others) assert.notDeepEqual(other, expected)
  })

  test('secrets compare by value, and never equal at different lengths', () => {
    assert.equal(equalSecret(hex('0102'), hex('0102')), true)
    assert.equal(equalSecret(hex('0102'), hex('0103')), false)
    assert.equal(equalSecret(hex('0102'), hex('010200')), false)
  })
})

suite('X25519', () => {
  test('RFC 7748: products, and the iteration a thousand times', () => {
    for (const { private: secret, public: peer, shared } of rfc.x25519.products) {
      assert.equal(toHex(x25519(x25519FromSecret(hex(secret)).privateKey, hex(peer))!), shared)
    }
    let k = hex(`09${'00'.repeat(31)}`)
    let u = k
    for (let round = 1; round <= 1000; round++) {
      const next = x25519(x25519FromSecret(k).privateKey, u)!
      u = k
      k = next
      if (round === 1) assert.equal(toHex(k), rfc.x25519.iterated.once)
    }
    assert.equal(toHex(k), rfc.x25519.iterated.thousand)
  })

  test('Wycheproof: special, twisted and non-canonical keys; a result of zero is refused', () => {
    let refused = 0
    for (const { tcId, flags, public: peer, private: secret, shared } of wycheproof.x25519) {
      const result = x25519(x25519FromSecret(hex(secret)).privateKey, hex(peer))
      if (flags.includes('ZeroSharedSecret')) {
        assert.equal(result, null, `tcId ${tcId}`)
        refused++
      } else {
        assert.equal(toHex(result!), shared, `tcId ${tcId}`)
      }
    }
    assert.ok(refused >= 25)
  })

  test('both sides agree; secrets round-trip; a public key of another length is refused', () => {
    const alice = x25519Generate()
    const bob = x25519Generate()
    assert.deepEqual(x25519(alice.privateKey, bob.publicKey), x25519(bob.privateKey, alice.publicKey))
    assert.deepEqual(x25519FromSecret(x25519Secret(alice.privateKey)).publicKey, alice.publicKey)
    for (const length of [0, 31, 33, 64]) assert.equal(x25519(alice.privateKey, new Uint8Array(length).fill(9)), null)
  })
})

suite('ML-KEM-768', () => {
  test('Wycheproof: public key of a seed, and the secret of a ciphertext (implicit rejection among them)', () => {
    for (const { tcId, seed, ek, c, K } of wycheproof.mlkem768) {
      const { publicKey, privateKey } = mlkemFromSeed(hex(seed))
      assert.equal(toHex(publicKey), ek, `tcId ${tcId}`)
      assert.equal(toHex(mlkemDecapsulate(privateKey, hex(c))!), K, `tcId ${tcId}`)
    }
  })

  test('Wycheproof: keys of a wrong length or with coefficients over the modulus are refused', () => {
    for (const { tcId, ek } of wycheproof.mlkem768BadKeys) assert.equal(mlkemPublic(hex(ek)), null, `tcId ${tcId}`)
  })

  test('round trip; a changed ciphertext gives another secret, always the same; a wrong length gives none', () => {
    const { publicKey, privateKey } = mlkemGenerate()
    const { secret, ciphertext } = mlkemEncapsulate(mlkemPublic(publicKey)!)
    assert.deepEqual(mlkemDecapsulate(privateKey, ciphertext), secret)
    for (const at of [0, 500, 1087]) {
      const changed = ciphertext.slice()
      changed[at]! ^= 1
      const rejected = mlkemDecapsulate(privateKey, changed)!
      assert.equal(rejected.length, 32)
      assert.notDeepEqual(rejected, secret)
      assert.deepEqual(mlkemDecapsulate(privateKey, changed), rejected)
    }
    for (const length of [0, 1087, 1089]) assert.equal(mlkemDecapsulate(privateKey, new Uint8Array(length)), null)
    assert.notDeepEqual(mlkemEncapsulate(mlkemPublic(publicKey)!).secret, secret, 'each encapsulation is fresh')
  })
})

suite('Ed25519', () => {
  test('RFC 8032', () => {
    for (const { seed, public: publicKey, message, signature } of rfc.ed25519.vectors) {
      const key = signingKey(hex(seed))
      assert.equal(toHex(key.publicKey), publicKey)
      assert.equal(toHex(key.sign(hex(message))), signature)
      assert.equal(verifySignature(hex(publicKey), hex(message), hex(signature)), true)
      assert.equal(verifySignature(hex(publicKey), hex(`${message}00`), hex(signature)), false)
    }
  })

  test('Wycheproof: malleable, truncated, extended and badly encoded signatures are refused', () => {
    for (const { tcId, public: publicKey, msg, sig, valid } of wycheproof.ed25519) {
      assert.equal(verifySignature(hex(publicKey), hex(msg), hex(sig)), valid, `tcId ${tcId}`)
    }
  })

  test('public keys of small order or wrong length sign nothing', () => {
    const message = utf8('m')
    for (const point of [`01${'00'.repeat(31)}`, '00'.repeat(32), `ec${'ff'.repeat(30)}7f`]) {
      const signature = concat(hex(point), new Uint8Array(32))
      assert.equal(verifySignature(hex(point), message, signature), false, point)
    }
    assert.equal(verifySignature(new Uint8Array(31), message, new Uint8Array(64)), false)
  })
})

suite('ChaCha20 and its AEAD', () => {
  const { aead } = rfc

  test('keystream: RFC 8439 A.1', () => {
    for (const { key, at, keystream } of rfc.chacha20.vectors) {
      assert.equal(toHex(chacha20Keystream(hex(key), at + 64).subarray(at)), keystream)
    }
  })

  test('numbered nonces: equal to the textbook cipher, which reproduces RFC 8439 §2.8.2 and §2.5.2 and the draft for HChaCha20', () => {
    const block1 = concat(le32(1), hex(aead.nonce))
    assert.equal(toHex(naiveChacha20(hex(aead.key), block1, hex(aead.plaintext))), aead.ciphertext)
    const { key, message, tag } = aead.poly1305
    assert.equal(toHex(toLittle(naivePoly1305(hex(key).slice(0, 16), hex(key).slice(16), hex(message)), 16)), tag)
    const ascending = Uint8Array.from({ length: 32 }, (_, at) => at)
    assert.equal(
      toHex(naiveHchacha20(ascending, hex('000000090000004a0000000031415927'))),
      '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc',
    )
    for (const nonce of [0, 1, 0x1234_5678, 0xffff_ffff]) {
      const input = ascending.map((byte) => byte ^ 0x5a)
      const textbook = naiveChacha20(hex(aead.key), concat(le32(0), le32(nonce), new Uint8Array(8)), input)
      assert.deepEqual(chacha20Xor(hex(aead.key), nonce, input), textbook)
    }
  })

  /** ChaCha20-Poly1305 from its two textbook parts (RFC 8439 §2.8). */
  function textbookSeal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, associated: Uint8Array): Uint8Array {
    const oneTime = naiveChacha20(key, concat(le32(0), nonce), new Uint8Array(32))
    const ciphertext = naiveChacha20(key, concat(le32(1), nonce), plaintext)
    const padded = (part: Uint8Array) => concat(part, new Uint8Array((16 - (part.length % 16)) % 16))
    const covered = concat(padded(associated), padded(ciphertext), le64(associated.length), le64(ciphertext.length))
    return concat(ciphertext, toLittle(naivePoly1305(oneTime.slice(0, 16), oneTime.slice(16), covered), 16))
  }

  test('the textbook AEAD gives RFC 8439 §2.8.2, and sealOnce gives what the textbook does under the zero nonce', () => {
    const published = textbookSeal(hex(aead.key), hex(aead.nonce), hex(aead.plaintext), hex(aead.aad))
    assert.equal(toHex(published), aead.ciphertext + aead.tag)
    for (const length of [0, 1, 88, 114]) {
      const plaintext = hex(aead.plaintext).slice(0, length)
      const expected = textbookSeal(hex(aead.key), new Uint8Array(12), plaintext, hex(aead.aad))
      assert.deepEqual(sealOnce(hex(aead.key), plaintext, hex(aead.aad)), expected)
      assert.deepEqual(sealOnce(hex(aead.key), plaintext, hex(aead.aad).subarray(0, 5), hex(aead.aad).subarray(5)), expected)
      assert.deepEqual(openOnce(hex(aead.key), expected, hex(aead.aad)), plaintext)
    }
  })

  test('any changed byte, truncation, other key or other associated data opens nothing', () => {
    const key = hex(aead.key)
    const sealed = sealOnce(key, utf8('routing'), utf8('record'))
    for (let at = 0; at < sealed.length; at++) {
      const changed = sealed.slice()
      changed[at]! ^= 0x80
      assert.equal(openOnce(key, changed, utf8('record')), null)
      assert.equal(openOnce(key, sealed.subarray(0, at), utf8('record')), null)
    }
    assert.equal(openOnce(key, concat(sealed, new Uint8Array(1)), utf8('record')), null)
    assert.equal(openOnce(key, sealed, utf8('recorD')), null)
    assert.equal(openOnce(key, sealed), null)
    assert.equal(openOnce(new Uint8Array(32), sealed, utf8('record')), null)
  })
})
