/** The set-up vectors, byte for byte: the origin's building, each hop, the origin's check, and the plain twin over all of it. */
import assert from 'node:assert/strict'
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fromHex, type NodeId, toHex, type UnixMs } from '../../src/bytes/index.ts'
import { openSetUp, PRIMITIVES } from '../../src/circuit/setup/index.ts'
import { composeSetUp } from '../../src/circuit/setup/origin.ts'
import { checkReturn } from '../../src/circuit/setup/pending.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { naiveSetUp } from '../support/naive-setup.ts'
import { inTurn, type SetUpVectors, vectorMember } from '../support/setup-vectors.ts'

const vectors: SetUpVectors = JSON.parse(readFileSync(new URL('./setup.json', import.meta.url), 'utf8'))
const bytes = (hex: string) => fromHex(hex)!
const network = bytes(vectors.network)
const members = vectors.members.map(vectorMember)
const hops = vectors.hops.length
const packets = vectors.packets.map(bytes)

/** The vectors' origin, with every draw as recorded. */
function compose() {
  const { below, bytes: drawn, ephemeralSecrets, encapsulations } = vectors.origin
  const [belowLeft, bytesLeft, kemLeft] = [[...below], [...drawn], [...encapsulations]]
  const drawnNext = () => bytes(bytesLeft.shift()!)
  const rng: Rng = { below: () => belowLeft.shift()!, bytes: drawnNext, scratch: drawnNext, unit: () => 0 }
  const composed = composeSetUp({
    network,
    members: members.slice(0, hops),
    self: members[hops]!,
    claim: () => true,
    plan: vectors.plan,
    rng,
    primitives: {
      ...PRIMITIVES,
      x25519Generate: inTurn(ephemeralSecrets),
      mlkemEncapsulate: () => {
        const { secret, ciphertext } = kemLeft.shift()!
        return { secret: bytes(secret), ciphertext: bytes(ciphertext) }
      },
    },
  })
  assert.deepEqual([belowLeft, bytesLeft, kemLeft], [[], [], []], 'every draw was used')
  return composed
}

function open(at: number, packet: Uint8Array) {
  const { id, onionKeys } = members[at]!
  const previous: NodeId = members[at === 0 ? hops : at - 1]!.id
  const primitives = { ...PRIMITIVES, x25519Generate: inTurn([vectors.hops[at]!.freshSecret]) }
  return openSetUp(packet, {
    network,
    self: id,
    onionKeys,
    nowMs: vectors.nowMs as UnixMs,
    previous,
    isNeighbour: () => true,
    primitives,
  })
}

describe('the set-up vectors', () => {
  test('the origin builds the packet', () => {
    const { packet, state } = compose()
    assert.equal(toHex(packet), vectors.packets[0])
    assert.deepEqual(
      state.hops.map(({ slot, ctx }) => [slot, toHex(ctx)]),
      vectors.hops.map(({ slot, ctx }) => [slot, ctx]),
    )
  })

  for (const [at, expected] of vectors.hops.entries()) {
    test(`hop ${at + 1}`, () => {
      const verdict = open(at, packets[at]!)
      assert.ok(verdict.ok)
      assert.equal(toHex(verdict.packet), vectors.packets[at + 1])
      assert.equal(toHex(verdict.cellKey), expected.cellKey)
      assert.equal(toHex(verdict.answerKey), expected.answerKey)
      assert.equal(verdict.next, vectors.members[at + 1]!.id)
      assert.deepEqual(verdict.plan, vectors.plan)
    })

    test(`hop ${at + 1} in the plain twin`, () => {
      const { x25519Secret, mlkem768Seed, id } = vectors.members[at]!
      const twin = naiveSetUp(Buffer.from(packets[at]!), {
        network: Buffer.from(network),
        id: Buffer.from(id, 'hex'),
        onionX25519: pkcs8('302e020100300506032b656e04220420', x25519Secret),
        onionMlkem: pkcs8('3054020100300b060960864801650304040204428040', mlkem768Seed),
        fresh: pkcs8('302e020100300506032b656e04220420', expected.freshSecret),
      })
      assert.equal(twin.packet.toString('hex'), vectors.packets[at + 1])
      assert.equal(twin.ctx.toString('hex'), expected.ctx)
      assert.equal(twin.slot, expected.slot)
      assert.equal(twin.cellKey.toString('hex'), expected.cellKey)
      assert.equal(twin.answerKey.toString('hex'), expected.answerKey)
      assert.equal(twin.next.toString('hex'), vectors.members[at + 1]!.id)
    })
  }

  test('the origin accepts what returns, with the hops’ keys', () => {
    const layers = checkReturn(compose().state, packets[hops]!)
    assert.deepEqual(
      layers?.map(({ cellKey, answerKey }) => [toHex(cellKey), toHex(answerKey)]),
      vectors.hops.map(({ cellKey, answerKey }) => [cellKey, answerKey]),
    )
  })

  test('must fail at a hop', () => {
    for (const { hop, at, xor, reason } of vectors.mustFail) {
      const changed = packets[hop]!.slice()
      changed[at]! ^= xor
      assert.deepEqual(open(hop, changed), { ok: false, reason }, `hop ${hop}, byte ${at}`)
    }
  })

  test('must fail at the origin', () => {
    const { state } = compose()
    for (const { at, xor } of vectors.mustFailAtOrigin) {
      const changed = packets[hops]!.slice()
      changed[at]! ^= xor
      assert.equal(checkReturn(state, changed), null, `byte ${at}`)
    }
  })
})

function pkcs8(prefix: string, secret: string): KeyObject {
  return createPrivateKey({ key: Buffer.from(prefix + secret, 'hex'), format: 'der', type: 'pkcs8' })
}
