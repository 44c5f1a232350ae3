/** Both implementations of X25519 against node:crypto, on ordinary, odd and small-order points. */
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fromHex, toHex } from '../../src/bytes/index.ts'
import { nativeX25519, portableX25519 } from '../../src/crypto/x25519.ts'
import { seededRng } from '../support/seeded-rng.ts'

const vectors: unknown = JSON.parse(readFileSync(new URL('../vectors/wycheproof.json', import.meta.url), 'utf8'))
const { x25519: cases } = vectors as { x25519: { tcId: number; public: string; private: string; shared: string }[] }

function nodeX25519(secret: Uint8Array, point: Uint8Array): string {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), secret])
  const spki = Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), point])
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  return diffieHellman({ privateKey, publicKey: createPublicKey({ key: spki, format: 'der', type: 'spki' }) }).toString('hex')
}

for (const engine of [portableX25519, nativeX25519()]) {
  if (engine === null) continue // the addon has no build here: the portable one is what runs
  describe(engine.implementation, () => {
    test('as node:crypto, also from views into larger arrays', () => {
      const rng = seededRng('x25519')
      for (let round = 0; round < 64; round++) {
        const held = rng.bytes(80)
        const [secret, point] = [held.subarray(3, 35), held.subarray(41, 73)]
        assert.equal(toHex(engine.multiply(secret, point)!), nodeX25519(secret, point))
        const base = new Uint8Array(32)
        base[0] = 9
        assert.equal(toHex(engine.base(secret)), nodeX25519(secret, base))
      }
    })

    test('Project Wycheproof, small order refused', () => {
      for (const { tcId, public: point, private: secret, shared } of cases) {
        const result = engine.multiply(fromHex(secret)!, fromHex(point)!)
        if (/^0+$/.test(shared)) assert.equal(result, null, `case ${tcId}`)
        else assert.equal(toHex(result!), shared, `case ${tcId}`)
      }
    })
  })
}
