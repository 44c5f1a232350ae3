/** P8: what opens a recorded set-up and what does not, before and after the fresh keys are gone; and that secrets are overwritten. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { lengthPrefixed, utf8 } from '../../src/bytes/index.ts'
import {
  CIPHERTEXT_AT,
  EPHEMERAL_AT,
  RECORD_BYTES,
  SEALED_AT,
  SLOT_BYTES,
  STACK_BYTES,
} from '../../src/circuit/setup/constants.ts'
import { openSetUp, PRIMITIVES, type SetUpPrimitives } from '../../src/circuit/setup/index.ts'
import { layerKeys, RECORD_LABEL, recordContext, recordKeys, transcript } from '../../src/circuit/setup/keys.ts'
import { decodeBody } from '../../src/circuit/setup/record.ts'
import {
  chacha20Xor,
  hkdfExpand,
  mlkemDecapsulate,
  openOnce,
  type X25519KeyPair,
  x25519,
  x25519Generate,
} from '../../src/crypto/index.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { NETWORK, sendRound, surroundings, testLoop, testNode } from '../support/setup-loops.ts'

/** Primitives that keep hold of every secret that they return (`fresh`: of copies, for what a thief in time would have). */
function watched(): { readonly primitives: SetUpPrimitives; readonly secrets: Uint8Array[]; readonly fresh: X25519KeyPair[] } {
  const secrets: Uint8Array[] = []
  const fresh: X25519KeyPair[] = []
  const keep = <T extends Uint8Array | null>(secret: T): T => {
    if (secret !== null) secrets.push(secret)
    return secret
  }
  const primitives: SetUpPrimitives = {
    x25519Generate: () => {
      const pair = x25519Generate()
      fresh.push({ ...pair, privateKey: keep(pair.privateKey).slice() })
      return pair
    },
    x25519: (...args) => keep(PRIMITIVES.x25519(...args)),
    mlkemDecapsulate: (...args) => keep(PRIMITIVES.mlkemDecapsulate(...args)),
    mlkemEncapsulate: (key) => {
      const made = PRIMITIVES.mlkemEncapsulate(key)
      keep(made.secret)
      return made
    },
    hkdfExtract: (...args) => keep(PRIMITIVES.hkdfExtract(...args)),
    hkdfExpand: (...args) => keep(PRIMITIVES.hkdfExpand(...args)),
  }
  return { primitives, secrets, fresh }
}

const isZero = (bytes: Uint8Array) => bytes.every((byte) => byte === 0)

describe('forward secrecy of cells', () => {
  test('with the transcript and both onion keys, but without the fresh key, no cell key comes out', () => {
    const loop = testLoop({ hops: 5 })
    const watch = watched()
    const { received, layers } = sendRound(loop, undefined, () => null, { primitives: watch.primitives })
    for (const [at, node] of loop.nodes.entries()) {
      const packet = received[at]!
      const ephemeral = packet.subarray(EPHEMERAL_AT, CIPHERTEXT_AT)
      const ciphertext = packet.subarray(CIPHERTEXT_AT, SEALED_AT)
      const stack = packet.subarray(0, STACK_BYTES)
      const reply = packet.subarray(STACK_BYTES)

      // All that the thief can work out: the record's keys, its body, the answer in the clear, the transcript.
      const ctx = recordContext(NETWORK, node.id, node.onion, ephemeral, ciphertext)
      const onionSecret = x25519(node.pair.x25519, ephemeral)!
      const kemSecret = mlkemDecapsulate(node.pair.mlkem768, ciphertext)!
      const keys = recordKeys(PRIMITIVES, NETWORK, ctx, onionSecret, kemSecret)
      const sealed = packet.subarray(SEALED_AT, RECORD_BYTES)
      const opened = openOnce(keys.body, sealed, RECORD_LABEL, packet.subarray(0, SEALED_AT), stack.subarray(RECORD_BYTES))
      const body = decodeBody(opened!)
      assert.equal(body?.next, (loop.nodes[at + 1] ?? loop.origin).id, 'routing is not forward secret before the keys are wiped')
      const unmasked = chacha20Xor(keys.reply, 0, received[at + 1]!.subarray(STACK_BYTES)).map((byte, i) => byte ^ reply[i]!)
      const answer = unmasked.subarray(SLOT_BYTES * body.slot, SLOT_BYTES * (body.slot + 1))
      const freshPublic = answer.subarray(0, 32)
      assert.deepEqual(freshPublic, watch.fresh[at]!.publicKey)
      const th = transcript(ctx, stack, reply, freshPublic)
      const confirms = (secret: Uint8Array | null): boolean => {
        const tried = layerKeys(PRIMITIVES, keys.prk1, secret ?? new Uint8Array(32), th)
        return (
          Buffer.from(tried.confirmation).equals(answer.subarray(32)) && Buffer.from(tried.cellKey).equals(layers[at]!.cellKey)
        )
      }

      // Everything that could be tried in the place of the fresh secret.
      const candidates = [
        x25519(node.pair.x25519, freshPublic),
        onionSecret,
        kemSecret,
        keys.prk1,
        keys.reply,
        freshPublic,
        ephemeral,
        null,
        ...loop.nodes.map((other) => x25519(other.pair.x25519, ephemeral)),
        ...loop.nodes.map((other) => x25519(other.pair.x25519, freshPublic)),
      ]
      for (const candidate of candidates) assert.equal(confirms(candidate), false)
      for (const name of ['gyre/1 cell', 'gyre/1 answer', 'gyre/1 body']) {
        for (const bound of [ctx, th]) {
          const key = hkdfExpand(keys.prk1, lengthPrefixed(utf8(name), bound), 32)
          assert.notDeepEqual(key, layers[at]!.cellKey)
          assert.notDeepEqual(key, layers[at]!.answerKey)
        }
      }
      // Control: the fresh key, or the origin's ephemeral one, would do it.
      assert.equal(confirms(x25519(watch.fresh[at]!.privateKey, ephemeral)), true)
      assert.equal(confirms(x25519(loop.state.hops[at]!.ephemeral, freshPublic)), true)
    }
  })

  test('either half of a hop’s onion keys alone opens nothing', () => {
    const loop = testLoop({ hops: 3 })
    const stranger = testNode(seededRng(1))
    for (const half of ['x25519', 'mlkem768'] as const) {
      const pair = { ...loop.nodes[0]!.pair, [half]: stranger.pair[half] }
      const verdict = openSetUp(loop.built.packet, surroundings(loop, 0, { onionKeys: { find: () => pair } }))
      assert.deepEqual(verdict, { ok: false, reason: 'unopened' })
    }
  })

  test('a hop that has only half of its keys does not get to confirm, with its published keys unchanged', () => {
    const loop = testLoop({ hops: 3 })
    const half = { ...loop.nodes[1]!, pair: { ...loop.nodes[1]!.pair, mlkem768: testNode(seededRng(2)).pair.mlkem768 } }
    const { verdicts, completed } = sendRound({ ...loop, nodes: [loop.nodes[0]!, half, loop.nodes[2]!] })
    assert.equal(verdicts.length, 2)
    assert.equal(completed, null)
  })
})

describe('secrets are overwritten', () => {
  test('at a hop: all but the layer, which is the caller’s', () => {
    const loop = testLoop({ hops: 3 })
    const { primitives, secrets } = watched()
    const verdict = openSetUp(loop.built.packet, surroundings(loop, 0, { primitives }))
    assert.ok(verdict.ok)
    const kept = secrets.filter((secret) => secret === verdict.cellKey || secret === verdict.answerKey)
    assert.equal(kept.length, 2)
    assert.ok(kept.every((key) => !isZero(key)))
    assert.equal(secrets.length, 12, 'the fresh key, two exchanges, one decapsulation, two extractions, six expansions')
    for (const secret of secrets) assert.ok(kept.includes(secret) || isZero(secret))
  })

  test('at a hop that drops: all; and the work is the same as for a packet that it passes on', () => {
    const loop = testLoop({ hops: 3 })
    const changed = loop.built.packet.slice()
    changed[SEALED_AT]! ^= 1
    const zeroPoint = loop.built.packet.slice().fill(0, EPHEMERAL_AT, CIPHERTEXT_AT)
    const cases = [
      { packet: changed, over: {}, made: 12 },
      { packet: zeroPoint, over: {}, made: 10 }, // both exchanges gave nothing to keep
      { packet: loop.built.packet, over: { isNeighbour: () => false }, made: 12 },
      { packet: loop.built.packet, over: { previous: loop.nodes[1]!.id }, made: 12 },
    ]
    for (const { packet, over, made } of cases) {
      const { primitives, secrets } = watched()
      assert.equal(openSetUp(packet, surroundings(loop, 0, { ...over, primitives })).ok, false)
      assert.equal(secrets.length, made)
      assert.ok(secrets.every(isZero))
    }
  })

  test('at the origin: all but the layers, when the loop is complete, refused or given up', () => {
    for (const end of ['complete', 'refused', 'given up'] as const) {
      const { primitives, secrets } = watched()
      const loop = testLoop({ hops: 3, primitives })
      const { completed } = sendRound(loop, undefined, (packet, previous) => {
        if (end === 'given up') loop.built.pending.wipe()
        if (end === 'refused') packet[STACK_BYTES]! ^= 1
        return loop.built.pending.complete(packet, previous)
      })
      assert.equal(completed === null, end !== 'complete')
      const kept = (completed ?? []).flatMap(({ cellKey, answerKey }) => [cellKey, answerKey])
      for (const secret of secrets) assert.equal(isZero(secret), !kept.includes(secret), end)
    }
  })
})
