/** Set-up: what an honest round gives, and each thing that a hop or the origin must refuse. Spec: SPEC.md §4.3. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { concat, fromHex, nodeIdOf, type UnixMs } from '../../src/bytes/index.ts'
import {
  CIPHERTEXT_AT,
  EPHEMERAL_AT,
  RECORD_BYTES,
  REPLY_BYTES,
  SEALED_AT,
  SLOT_BYTES,
  STACK_BYTES,
} from '../../src/circuit/setup/constants.ts'
import {
  buildSetUp,
  EPOCH_MS,
  ephemeralOf,
  LIFE_MAX_MS,
  LIVE_LEAD_MAX_MS,
  openSetUp,
  PRIMITIVES,
  ReplayCache,
  refusePlan,
  SETUP_BYTES,
  type SetUpDrop,
  type SetUpPlan,
  type SetUpVerdict,
  swiftPlan,
} from '../../src/circuit/setup/index.ts'
import { layerKeys, transcript } from '../../src/circuit/setup/keys.ts'
import { checkReturn } from '../../src/circuit/setup/pending.ts'
import { decodeBody, encodeBody, type RecordBody } from '../../src/circuit/setup/record.ts'
import { xorInto } from '../../src/circuit/setup/xor.ts'
import { chacha20Xor, x25519, x25519Generate } from '../../src/crypto/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { NETWORK, NOW, sendRound, surroundings, testLoop, testNode } from '../support/setup-loops.ts'

function reasonOf(verdict: SetUpVerdict | undefined): SetUpDrop | 'ok' | undefined {
  return verdict?.ok === false ? verdict.reason : verdict && 'ok'
}

/** Encodings of the points of order 1, 2, 4 and 8 (and their non-canonical twins) on the curve and its twist. */
const SMALL_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]

test('XOR by words is XOR by bytes, at every place and length', () => {
  const rng = seededRng('xor')
  for (let round = 0; round < 400; round++) {
    const held = rng.bytes(1400)
    const bytes = rng.bytes(800).subarray(rng.below(9), 200 + rng.below(500))
    const target = held.slice().subarray(rng.below(9))
    const at = rng.below(300)
    const expected = target.map((byte, i) => byte ^ (i >= at && i < at + bytes.length ? bytes[i - at]! : 0))
    xorInto(target, at, bytes)
    assert.deepEqual(target, expected)
  }
})

describe('an honest round', () => {
  test('the geometry is that of the protocol', () => {
    assert.deepEqual(
      [RECORD_BYTES, SLOT_BYTES, STACK_BYTES, REPLY_BYTES, SETUP_BYTES, SEALED_AT],
      [1226, 48, 14712, 576, 15288, 1122],
    )
  })

  for (let hops = 3; hops <= 11; hops++) {
    test(`${hops} others: one packet, one round, the same keys at both ends`, () => {
      const loop = testLoop({ hops })
      const { received, verdicts, layers, completed } = sendRound(loop)
      assert.deepEqual(completed, layers)
      assert.equal(layers.length, hops)
      const keys = layers.flatMap(({ cellKey, answerKey }) => [cellKey, answerKey])
      assert.equal(new Set(keys.map((key) => Buffer.from(key).toString('hex'))).size, 2 * hops, 'all keys differ')
      assert.ok(keys.every((key) => key.length === 32))
      assert.ok(received.every((packet) => packet.length === SETUP_BYTES))
      const route = verdicts.map((verdict) => (verdict.ok ? verdict.next : ''))
      assert.deepEqual(
        route,
        [...loop.nodes.slice(1), loop.origin].map(({ id }) => id),
      )
      assert.ok(verdicts.every((verdict) => verdict.ok && verdict.plan.clock === 'swift'))
      assert.equal(ephemeralOf(received[hops]!), loop.built.pending.ephemeral, 'the origin knows its packet')
    })
  }

  test('the origin looks like a hop to its own keys: its record opens to the body of a relay', () => {
    const loop = testLoop({ hops: 5 })
    const home = sendRound(loop, undefined, () => null).received[5]!
    const asHop = { ...loop, nodes: [...loop.nodes, loop.origin] }
    const verdict = openSetUp(home, surroundings(asHop, 5))
    assert.ok(verdict.ok)
    assert.equal(verdict.next, loop.nodes[0]!.id)
  })

  test('two loops through the same nodes share no key', () => {
    const rng = seededRng(3)
    const nodes = Array.from({ length: 4 }, () => testNode(rng))
    const first = sendRound(testLoop({ hops: 3, nodes, rng })).layers
    const second = sendRound(testLoop({ hops: 3, nodes, rng })).layers
    for (const [at, layer] of first.entries()) assert.notDeepEqual(layer.cellKey, second[at]!.cellKey)
  })
})

describe('a hop refuses', () => {
  const loop = testLoop({ hops: 3 })
  const packet = loop.built.packet
  const open = (over: Parameters<typeof surroundings>[2] = {}, bytes = packet) =>
    reasonOf(openSetUp(bytes, surroundings(loop, 0, over)))

  test('nothing of an honest packet, and leaves it unchanged', () => {
    const before = packet.slice()
    assert.equal(open(), 'ok')
    assert.deepEqual(packet, before)
  })

  test('another length, key id or version', () => {
    for (const length of [0, 1, 34, SETUP_BYTES - 1, SETUP_BYTES + 1]) assert.equal(open({}, new Uint8Array(length)), 'malformed')
    assert.equal(open({ onionKeys: { find: () => null } }), 'unknown-key')
    const other = packet.slice()
    other[0] = 2
    assert.equal(open({}, other), 'malformed')
  })

  test('a replay, also of a packet that it could not open', () => {
    const pair = { ...loop.nodes[0]!.pair, replay: new ReplayCache(new Uint8Array(32)) }
    const onionKeys = { find: () => pair }
    const broken = packet.slice()
    broken[SEALED_AT]! ^= 1
    assert.equal(open({ onionKeys }, broken), 'unopened')
    assert.equal(open({ onionKeys }), 'replayed')
    assert.equal(
      open({ onionKeys: { find: () => ({ ...pair, replay: new ReplayCache(new Uint8Array(32), 0) }) } }),
      'replay-full',
    )
  })

  test('a malformed packet without entering it into the replay cache', () => {
    const replay = new ReplayCache(new Uint8Array(32))
    open({ onionKeys: { find: () => ({ ...loop.nodes[0]!.pair, replay }) } }, packet.subarray(1))
    assert.equal(replay.size, 0)
  })

  test('a packet of another network, or for another node', () => {
    assert.equal(open({ network: new Uint8Array(32) }), 'unopened')
    assert.equal(open({ self: loop.nodes[1]!.id }), 'unopened')
    const pair = { ...loop.nodes[1]!.pair, published: { ...loop.nodes[1]!.onion, kid: loop.nodes[0]!.onion.kid } }
    assert.equal(open({ onionKeys: { find: () => pair } }), 'unopened')
  })

  test('a next hop that is no neighbour, itself, or where the packet came from', () => {
    assert.equal(open({ isNeighbour: (id) => id !== loop.nodes[1]!.id }), 'next')
    assert.equal(open({ previous: loop.nodes[1]!.id }), 'next')
    // A record that names the hop itself: only the origin's own can, by its decoy.
    const [first, second, third] = loop.nodes
    const request = {
      network: NETWORK,
      members: [first!, second!, third!],
      self: loop.origin,
      claim: () => true,
      plan: swiftPlan(NOW),
    }
    const { packet, pending } = buildSetUp({ ...request, decoyNext: loop.origin.id, rng: seededRng(8) })
    const circular = { ...loop, nodes: [...loop.nodes, loop.origin], built: { packet, pending } }
    assert.deepEqual(sendRound(circular).verdicts.map(reasonOf), ['ok', 'ok', 'ok', 'next'])
  })

  test('work that does not verify, bound to this record', () => {
    let seen: Uint8Array | undefined
    const verifyWork = (work: Uint8Array, context: Uint8Array) => {
      seen = context
      return work.length !== 16
    }
    assert.equal(open({ verifyWork }), 'work')
    assert.equal(seen?.length, 32)
    assert.equal(open({ verifyWork: () => true }), 'ok')
  })

  test('a set-up issued more than ten minutes away', () => {
    assert.equal(open({ nowMs: (NOW + 9 * 60_000) as UnixMs }), 'ok')
    assert.equal(open({ nowMs: (NOW - 9 * 60_000) as UnixMs }), 'ok')
    assert.equal(open({ nowMs: (NOW + 11 * 60_000) as UnixMs }), 'issued')
    assert.equal(open({ nowMs: (NOW - 11 * 60_000) as UnixMs }), 'issued')
  })

  for (const [at, point] of SMALL_ORDER.entries()) {
    test(`an ephemeral key of small order (${at}), though its record is otherwise right`, () => {
      const publicKey = fromHex(point)!
      const cheat = testLoop({
        hops: 3,
        nodes: [...loop.nodes, loop.origin],
        primitives: {
          ...PRIMITIVES,
          x25519Generate: () => ({ ...x25519Generate(), publicKey }),
          x25519: () => new Uint8Array(32),
        },
      })
      assert.equal(reasonOf(openSetUp(cheat.built.packet, surroundings(cheat, 0))), 'unopened')
    })

    test(`by its origin: a fresh key of small order (${at})`, () => {
      const honest = testLoop({ hops: 3, nodes: [...loop.nodes, loop.origin] })
      let dh = 0
      const primitives = {
        ...PRIMITIVES,
        x25519Generate: () => ({ ...x25519Generate(), publicKey: fromHex(point)! }),
        x25519: (...[mine, peer]: Parameters<typeof PRIMITIVES.x25519>) =>
          dh++ % 2 === 0 ? x25519(mine, peer) : new Uint8Array(32),
      }
      const { completed, verdicts } = sendRound(honest, undefined, undefined, { primitives })
      assert.equal(verdicts.length, 3)
      assert.equal(completed, null)
    })
  }
})

describe('the plan', () => {
  const epochs = Math.floor(NOW / EPOCH_MS)
  const steady: SetUpPlan = {
    ...swiftPlan(NOW),
    clock: 'steady',
    rate: 2,
    openEpoch: epochs + 3,
    liveEpoch: epochs + 3,
    closeEpoch: epochs + 3 + LIFE_MAX_MS / EPOCH_MS / 2,
    holdMs: 100,
  }
  const all = ['swift', 'steady', 'fixed'] as const

  test('all three clocks are run; a hop told to run fewer is silent about the others', () => {
    for (const clock of ['steady', 'fixed'] as const) {
      const loop = testLoop({ hops: 3, plan: { ...steady, clock } })
      assert.equal(reasonOf(sendRound(loop, undefined, undefined, { clocks: ['swift'] }).verdicts[0]), 'clock')
      const other = testLoop({ hops: 3, plan: { ...steady, clock } })
      assert.equal(reasonOf(sendRound(other).verdicts[2]), 'ok')
    }
  })

  test('swift has neither times nor rate nor hold', () => {
    const swift = swiftPlan(NOW)
    assert.equal(refusePlan(swift, NOW), null)
    for (const field of ['openEpoch', 'liveEpoch', 'closeEpoch', 'holdMs'] as const)
      assert.equal(refusePlan({ ...swift, [field]: 1 }, NOW), 'times')
    assert.equal(refusePlan({ ...swift, rate: 1 }, NOW), 'rate')
  })

  test('the bounds of the paced clocks', () => {
    const refuse = (over: Partial<SetUpPlan>) => refusePlan({ ...steady, ...over }, NOW, all)
    assert.equal(refuse({}), null)
    assert.equal(refuse({ clock: 'fixed' }), null)
    assert.equal(refuse({ liveEpoch: epochs, openEpoch: epochs }), 'times', 'less than 2 s ahead')
    const far = epochs + 2 + LIVE_LEAD_MAX_MS / EPOCH_MS
    assert.equal(refuse({ openEpoch: far, liveEpoch: far, closeEpoch: far + 10 }), 'times', 'too far ahead')
    for (const openEpoch of [steady.liveEpoch + 1, steady.liveEpoch - 1, 0]) assert.equal(refuse({ openEpoch }), 'times')
    assert.equal(refuse({ closeEpoch: steady.liveEpoch }), 'times')
    assert.equal(refuse({ closeEpoch: steady.liveEpoch + LIFE_MAX_MS / EPOCH_MS }), null)
    assert.equal(refuse({ closeEpoch: steady.liveEpoch + LIFE_MAX_MS / EPOCH_MS + 1 }), 'times')
    for (const holdMs of [0, 4, 1001]) assert.equal(refuse({ holdMs }), 'times')
    assert.equal(refuse({ rate: 6 }), 'rate')
  })

  test('a body has one encoding; every zero byte, clock and slot is checked', () => {
    const body: RecordBody = { next: nodeIdOf(seededRng(1).bytes(32)), slot: 11, plan: steady, work: seededRng(2).bytes(16) }
    const bytes = encodeBody(body, new Uint8Array(16))
    assert.deepEqual(decodeBody(bytes), body)
    for (const [at, value] of [
      [32, 1],
      [33, 3],
      [33, 255],
      [35, 12],
      [54, 1],
      [55, 1],
    ] as const) {
      const wrong = bytes.slice()
      wrong[at] = value
      assert.equal(decodeBody(wrong), null, `byte ${at}`)
    }
    assert.equal(decodeBody(bytes.subarray(1)), null)
  })
})

describe('the origin refuses', () => {
  const loop = testLoop({ hops: 4 })
  const round = sendRound(loop, undefined, (packet) => checkReturn(loop.state, packet))
  const home = round.received[4]!
  const check = (packet: Uint8Array) => checkReturn(loop.state, packet)

  test('nothing of an honest return', () => assert.deepEqual(check(home), round.layers))

  test('a return from another neighbour, a second return, a return after the wait ended', () => {
    const wrong = testLoop({ hops: 3 })
    const packet = sendRound(wrong, undefined, () => null).received[3]!
    assert.equal(wrong.built.pending.complete(packet, wrong.nodes[0]!.id), null)
    assert.equal(wrong.built.pending.complete(packet, wrong.nodes[2]!.id), null, 'the first attempt ended it')
    const twice = testLoop({ hops: 3 })
    assert.notEqual(sendRound(twice).completed, null)
    assert.equal(sendRound(twice).completed, null)
    const ended = testLoop({ hops: 3 })
    ended.built.pending.wipe()
    ended.built.pending.wipe()
    assert.equal(sendRound(ended).completed, null)
  })

  test('any other length', () => {
    for (const length of [0, SETUP_BYTES - 1, SETUP_BYTES + 1]) assert.equal(check(new Uint8Array(length)), null)
  })

  test('two answers in each other’s place, an answer left out, one too many', () => {
    const slotAt = (hop: number) => STACK_BYTES + SLOT_BYTES * loop.state.hops[hop]!.slot
    const swapped = home.slice()
    swapped.copyWithin(slotAt(0), slotAt(1), slotAt(1) + SLOT_BYTES)
    swapped.set(home.subarray(slotAt(0), slotAt(0) + SLOT_BYTES), slotAt(1))
    assert.equal(check(swapped), null)
    const used = new Set(loop.state.hops.map(({ slot }) => slot))
    const free = Array.from({ length: 12 }, (_, slot) => slot).find((slot) => !used.has(slot))!
    const extra = home.slice()
    extra[STACK_BYTES + SLOT_BYTES * free]! ^= 1
    assert.equal(check(extra), null)
    const silent = sendRound(loop, (packet, at) => (at === 1 ? withAnswer(packet, 0, new Uint8Array(SLOT_BYTES)) : packet), check)
    assert.equal(silent.verdicts.length, 4, 'no member notices')
    assert.equal(silent.completed, null)
  })

  /** The packet that hop `at` sends on, with `answer` in the place of its own. */
  function withAnswer(packet: Uint8Array, at: number, answer: Uint8Array): Uint8Array {
    const { replyKey, slot } = loop.state.hops[at]!
    const changed = packet.slice()
    changed.set(chacha20Xor(replyKey, 0, round.received[at]!.subarray(STACK_BYTES)), STACK_BYTES)
    xorInto(changed, STACK_BYTES + SLOT_BYTES * slot, answer)
    return changed
  }

  test('an answer given for hop 2 by a colluder that has all but the keys of hop 2', () => {
    const forge = (prk1: Uint8Array) => {
      let packet = loop.built.packet
      for (let at = 0; at < 4; at++) {
        const received = packet
        const verdict = openSetUp(received, surroundings(loop, at))
        assert.ok(verdict.ok)
        packet = verdict.packet
        if (at !== 1) continue
        const { replyKey, slot, ctx } = loop.state.hops[1]!
        const fresh = x25519Generate()
        const th = transcript(ctx, received.subarray(0, STACK_BYTES), received.subarray(STACK_BYTES), fresh.publicKey)
        const secret = x25519(fresh.privateKey, received.subarray(EPHEMERAL_AT, CIPHERTEXT_AT))!
        const { confirmation } = layerKeys(PRIMITIVES, prk1, secret, th)
        packet.set(chacha20Xor(replyKey, 0, received.subarray(STACK_BYTES)), STACK_BYTES)
        xorInto(packet, STACK_BYTES + SLOT_BYTES * slot, concat(fresh.publicKey, confirmation))
      }
      return check(packet)
    }
    assert.equal(forge(loop.state.hops[0]!.prk1), null)
    assert.notEqual(forge(loop.state.hops[1]!.prk1), null, 'control: with hop 2’s keys the same forgery passes')
  })

  test('to build a loop that path choice must not give, or through unusable keys', () => {
    const rng = seededRng(4)
    const nodes = Array.from({ length: 13 }, () => testNode(rng))
    const build = (members: typeof nodes, over: object = {}) =>
      buildSetUp({ network: NETWORK, members, self: nodes[12]!, claim: () => true, plan: swiftPlan(NOW), rng, ...over })
    for (const members of [
      [],
      nodes.slice(0, 2),
      nodes.slice(0, 12),
      [nodes[0]!, nodes[1]!, nodes[0]!],
      [nodes[0]!, nodes[1]!, nodes[12]!],
    ]) {
      assert.throws(
        () => build(members),
        (error) => isOverlayError(error, 'INTERNAL'),
      )
    }
    assert.throws(
      () => build(nodes.slice(0, 3), { claim: () => false }),
      (error) => isOverlayError(error, 'SETUP_REFUSED'),
    )
    for (const onion of [
      { kid: 1, x25519: new Uint8Array(32), mlkem768: nodes[0]!.onion.mlkem768 },
      { kid: 1, x25519: nodes[0]!.onion.x25519.subarray(1), mlkem768: nodes[0]!.onion.mlkem768 },
      { kid: 1, x25519: nodes[0]!.onion.x25519, mlkem768: new Uint8Array(1184).fill(255) },
    ]) {
      const bad = { ...nodes[0]!, onion }
      assert.throws(
        () => build([bad, nodes[1]!, nodes[2]!]),
        (error) => isOverlayError(error, 'SETUP_BAD_MEMBER'),
      )
    }
  })

  test('the origin’s own ephemeral is claimed before anything is sent', () => {
    const rng = seededRng(5)
    const nodes = Array.from({ length: 4 }, () => testNode(rng))
    const claimed: string[] = []
    const self = nodes[3]!
    const { pending } = buildSetUp({
      network: NETWORK,
      members: nodes.slice(0, 3),
      self,
      claim: (kid, ephemeral) => {
        assert.equal(kid, self.onion.kid)
        claimed.push(Buffer.from(ephemeral).toString('hex'))
        return true
      },
      plan: swiftPlan(NOW),
      rng,
    })
    assert.deepEqual(claimed, [pending.ephemeral])
  })
})
