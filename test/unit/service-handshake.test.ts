/** The handshake of live services: both sides agree, every deviation is one verdict, nothing secret is left, floods and replays are bounded. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { concat, type MonotonicMs, toHex } from '../../src/bytes/index.ts'
import { mlkemFromSeed, WORK_BITS_MAX, wipe, x25519FromSecret } from '../../src/crypto/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import {
  ClientHandshake,
  type ClientHandshakeOptions,
  type Established,
  findIntroductionWork,
  introductionBinding,
  introductionPointName,
  introductionWork,
  ServiceHandshakes,
  type ServiceIdentity,
  type SessionTicket,
} from '../../src/service/index.ts'
import { HANDSHAKE_PRIMITIVES, type HandshakePrimitives } from '../../src/service/keys.ts'
import { SeenEphemerals } from '../../src/service/seen-ephemerals.ts'
import { PENDING_MAX, PENDING_MS } from '../../src/service/service-handshake.ts'
import { seededRng } from '../support/seeded-rng.ts'

const at = (ms: number) => ms as MonotonicMs
const rng = seededRng('service handshake')
const keys = { x25519: x25519FromSecret(rng.bytes(32)), mlkem768: mlkemFromSeed(rng.bytes(64)) }
const identity: ServiceIdentity = {
  network: rng.bytes(32),
  address: rng.bytes(32),
  blinded: rng.bytes(32),
  x25519: keys.x25519.publicKey,
  mlkem768: keys.mlkem768.publicKey,
}
const node = rng.bytes(32)

/** Keeps what is secret, to see it wiped. */
function watched(): { readonly primitives: HandshakePrimitives; readonly made: Uint8Array[] } {
  const made: Uint8Array[] = []
  const keep = <T extends Uint8Array | null>(secret: T): T => {
    if (secret !== null) made.push(secret)
    return secret
  }
  const p = HANDSHAKE_PRIMITIVES
  return {
    made,
    primitives: {
      x25519: (privateKey, peer) => keep(p.x25519(privateKey, peer)),
      mlkemEncapsulate: (key) => {
        const both = p.mlkemEncapsulate(key)
        keep(both.secret)
        return both
      },
      mlkemDecapsulate: (privateKey, ciphertext) => keep(p.mlkemDecapsulate(privateKey, ciphertext)),
      hkdfExtract: (salt, secret) => keep(p.hkdfExtract(salt, secret)),
      hkdfExpand: (prk, info, length) => keep(p.hkdfExpand(prk, info, length)),
    },
  }
}

function service(sessions: readonly SessionTicket[] = [], primitives?: HandshakePrimitives): ServiceHandshakes {
  return new ServiceHandshakes({
    network: identity.network,
    address: identity.address,
    keys,
    rng,
    findSession: (id) => sessions.find((session) => toHex(session.id) === toHex(id)) ?? null,
    ...(primitives === undefined ? {} : { primitives }),
  })
}

function client(options: Partial<ClientHandshakeOptions> = {}, as: Partial<ServiceIdentity> = {}): ClientHandshake {
  const made = ClientHandshake.start({ ...identity, ...as }, { rng, ...options })
  assert.ok(made)
  return made
}

/** Runs a whole handshake. */
function run(asking: ClientHandshake, answering: ServiceHandshakes): readonly [Established, Established] {
  const greeted = answering.hello(asking.message, [identity.blinded], at(0))
  assert.ok(greeted)
  const drawn = asking.onAnswer(greeted.answer)
  assert.ok(drawn)
  const met = answering.meet(asking.meetAt(node)!, (location) => (toHex(location) === toHex(drawn.location) ? 0 : null), at(1))
  assert.ok(met?.established)
  const established = asking.onMet(met.answer)
  assert.ok(established)
  return [established, met.established]
}

const spelled = ({ resumed, ticket, keys: traffic, meetingCookie }: Established) =>
  [resumed, ticket.id, ticket.secret, traffic.toService, traffic.toClient, meetingCookie].map((value) =>
    typeof value === 'boolean' ? value : toHex(value),
  )

describe('a whole handshake', () => {
  test('both sides get the same, and every handshake gets its own', () => {
    const answering = service()
    const seen = new Set<string>()
    for (let round = 0; round < 5; round++) {
      const [mine, theirs] = run(client(), answering)
      assert.deepEqual(spelled(mine), spelled(theirs))
      assert.equal(mine.resumed, false)
      for (const value of spelled(mine).slice(1) as string[]) {
        assert.ok(!seen.has(value))
        seen.add(value)
      }
    }
  })

  test('a session goes on for who has its secret: the ticket stays, the keys are new', () => {
    const [first] = run(client(), service())
    const [mine, theirs] = run(client({ resume: first.ticket }), service([first.ticket]))
    assert.deepEqual(spelled(mine), spelled(theirs))
    assert.equal(mine.resumed, true)
    assert.deepEqual(spelled(mine).slice(1, 3), spelled(first).slice(1, 3))
    assert.notDeepEqual(spelled(mine).slice(3), spelled(first).slice(3))
    // The ticket that was passed in is not touched.
    assert.ok(first.ticket.secret.some((byte) => byte !== 0))
  })

  test('who names a session without its secret, or one that is gone, gets a new one', () => {
    const [first] = run(client(), service())
    const forged = { id: first.ticket.id, secret: rng.bytes(32) }
    for (const [resume, known] of [
      [forged, [first.ticket]],
      [first.ticket, []],
    ] as const) {
      const [mine] = run(client({ resume }), service(known))
      assert.equal(mine.resumed, false)
      assert.notEqual(toHex(mine.ticket.id), toHex(first.ticket.id))
    }
  })

  test('the resume proof of one handshake is none in another', () => {
    const [first] = run(client(), service())
    const observed: Uint8Array[] = []
    const spy = service([first.ticket])
    const stolen = client({ resume: first.ticket })
    observed.push(stolen.message)
    assert.ok(spy.hello(stolen.message, [identity.blinded], at(0)))
    // Sent again, it is refused; and its sealed part behind another ephemeral key does not open.
    assert.equal(spy.hello(stolen.message, [identity.blinded], at(0)), null)
    const other = client()
    const mixed = concat(other.message.subarray(0, 1121), stolen.message.subarray(1121))
    assert.equal(spy.hello(mixed, [identity.blinded], at(0)), null)
  })
})

describe('what the transcript binds', () => {
  const others: readonly (readonly [string, Partial<ServiceIdentity>])[] = [
    ['network', { network: rng.bytes(32) }],
    ['address', { address: rng.bytes(32) }],
    ['period', { blinded: rng.bytes(32) }],
    ['X25519 key', { x25519: x25519FromSecret(rng.bytes(32)).publicKey }],
    ['ML-KEM key', { mlkem768: mlkemFromSeed(rng.bytes(64)).publicKey }],
  ]
  for (const [name, as] of others) {
    test(`a client of another ${name} is refused`, () => {
      assert.equal(service().hello(client({}, as).message, [identity.blinded], at(0)), null)
    })
  }

  test('a record for a coming period is served too, and no more than four are tried', () => {
    const blinded = rng.bytes(32)
    const others = [rng.bytes(32), rng.bytes(32), rng.bytes(32), rng.bytes(32)]
    assert.ok(service().hello(client({}, { blinded }).message, [...others.slice(1), blinded], at(0)))
    assert.equal(service().hello(client({}, { blinded }).message, [...others, blinded], at(0)), null)
  })

  test('any changed byte of any message is refused', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 255 }), fc.nat(1216), fc.nat(96), fc.nat(95), fc.nat(16), (xor, h, a, m, o) => {
        const changed = (bytes: Uint8Array, where: number) => {
          const copy = bytes.slice()
          copy[where]! ^= xor
          return copy
        }
        const answering = service()
        const [one, two] = [client(), client()]
        assert.equal(answering.hello(changed(one.message, h), [identity.blinded], at(0)), null)
        const { answer } = answering.hello(two.message, [identity.blinded], at(0))!
        const bystander = client()
        const { answer: second } = answering.hello(bystander.message, [identity.blinded], at(0))!
        assert.equal(bystander.onAnswer(changed(second, a)), null)
        assert.ok(two.onAnswer(answer))
        const meeting = two.meetAt(node)!
        assert.equal(
          answering.meet(changed(meeting, m), () => 0, at(0)),
          null,
        )
        // What was not the client's does not end its handshake.
        const met = answering.meet(meeting, () => 0, at(0))!
        assert.equal(two.onMet(changed(met.answer, o)), null)
      }),
      { numRuns: 60 },
    )
  })

  test('any other length is refused', () => {
    const answering = service()
    for (const length of [0, 1, 95, 97, 1216, 1218, 1536]) {
      assert.equal(answering.hello(new Uint8Array(length).fill(1), [identity.blinded], at(0)), null)
      assert.equal(
        answering.meet(new Uint8Array(length), () => 0, at(0)),
        null,
      )
    }
    for (const length of [0, 96, 98]) assert.equal(client().onAnswer(new Uint8Array(length)), null)
  })

  test('keys of small order and unusable record keys', () => {
    assert.equal(ClientHandshake.start({ ...identity, x25519: new Uint8Array(32) }, { rng }), null)
    assert.equal(ClientHandshake.start({ ...identity, mlkem768: new Uint8Array(1184).fill(255) }, { rng }), null)
    const hello = client().message.slice()
    hello.fill(0, 1, 33)
    assert.equal(service().hello(hello, [identity.blinded], at(0)), null)
    const answer = new Uint8Array(97)
    assert.equal(client().onAnswer(answer), null)
  })
})

describe('who meets where', () => {
  test('the client is bound to its half before it sees the other', () => {
    const answering = service()
    const asking = client()
    const { answer } = answering.hello(asking.message, [identity.blinded], at(0))!
    asking.onAnswer(answer)
    const asked: Uint8Array[] = []
    const refuse = (location: Uint8Array) => {
      asked.push(location)
      return null
    }
    const meeting = asking.meetAt(node)!
    assert.equal(answering.meet(meeting, refuse, at(0)), null)
    assert.equal(asked.length, 1)
    // A node that was not drawn ends the handshake: there is no second try.
    assert.equal(
      answering.meet(meeting, () => 0, at(0)),
      null,
    )
  })

  test('message 2 sent again is answered again and does nothing again', () => {
    const answering = service()
    const asking = client()
    asking.onAnswer(answering.hello(asking.message, [identity.blinded], at(0))!.answer)
    const meeting = asking.meetAt(node)!
    const first = answering.meet(meeting, () => 0, at(0))!
    const again = answering.meet(meeting, () => assert.fail('asked again'), at(1))!
    assert.ok(first.established)
    assert.equal(again.established, null)
    assert.deepEqual([again.answer, again.node], [first.answer, first.node])
    assert.equal(
      answering.meet(meeting, () => 0, at(PENDING_MS)),
      null,
    )
  })

  test('steps out of order end the client’s handshake', () => {
    assert.equal(client().meetAt(node), null)
    assert.equal(client().onMet(new Uint8Array(17)), null)
    const answering = service()
    const twice = client()
    const { answer } = answering.hello(twice.message, [identity.blinded], at(0))!
    assert.ok(twice.onAnswer(answer))
    assert.equal(twice.onAnswer(answer), null)
    assert.equal(twice.meetAt(node), null)
  })
})

describe('secrets', () => {
  const gone = (made: readonly Uint8Array[], kept: readonly Uint8Array[]) => {
    for (const secret of made) if (!kept.includes(secret)) assert.ok(secret.every((byte) => byte === 0))
  }

  test('when it is done only what was asked for is left, at both sides', () => {
    const [mine, theirs] = [watched(), watched()]
    const answering = service([], theirs.primitives)
    const [a, b] = run(client({ primitives: mine.primitives }), answering)
    assert.ok(mine.made.length >= 9 && theirs.made.length >= 9)
    gone(mine.made, [a.ticket.secret, a.keys.toClient, a.keys.toService])
    gone(theirs.made, [b.ticket.secret, b.keys.toClient, b.keys.toService])
  })

  test('when it fails nothing is left', () => {
    const mine = watched()
    const asking = client({ primitives: mine.primitives })
    asking.onAnswer(new Uint8Array(97).fill(9))
    gone(mine.made, [])
    const theirs = watched()
    const answering = service([], theirs.primitives)
    const wrong = client().message.slice()
    wrong[1200]! ^= 1
    answering.hello(wrong, [identity.blinded], at(0))
    gone(theirs.made, [])
  })

  test('closing overwrites what is pending, and refuses what comes', () => {
    const theirs = watched()
    const answering = service([], theirs.primitives)
    const asking = client()
    assert.ok(answering.hello(asking.message, [identity.blinded], at(0)))
    answering.close()
    answering.close()
    gone(theirs.made, [])
    assert.equal(answering.pending, 0)
    assert.equal(answering.hello(client().message, [identity.blinded], at(0)), null)
  })
})

describe('floods', () => {
  test('pending handshakes are bounded: the oldest goes; and they end with time', () => {
    const answering = service()
    const first = client()
    const { answer } = answering.hello(first.message, [identity.blinded], at(0))!
    first.onAnswer(answer)
    for (let at_ = 0; at_ < PENDING_MAX; at_++) assert.ok(answering.hello(client().message, [identity.blinded], at(1)))
    assert.equal(answering.pending, PENDING_MAX)
    assert.equal(
      answering.meet(first.meetAt(node)!, () => 0, at(1)),
      null,
    )
    answering.meet(new Uint8Array(96), () => 0, at(1 + PENDING_MS))
    assert.equal(answering.pending, 0)
  })

  test('ephemerals seen are remembered within two tables; the older is forgotten', () => {
    const seen = new SeenEphemerals(rng.bytes(32), 64)
    const drawn = Array.from({ length: 200 }, () => rng.bytes(32))
    for (const [count, ephemeral] of drawn.entries()) {
      assert.equal(seen.admit(ephemeral), true)
      for (let back = 0; back < 64 && back <= count; back++) assert.equal(seen.admit(drawn[count - back]!), false)
    }
    assert.equal(seen.admit(drawn[0]!), true)
    seen.wipe()
    assert.equal(seen.admit(rng.bytes(32)), false)
  })
})

describe('work', () => {
  // The system's clock: a search gives way to other turns, which nobody moves on here.
  const waiting = { clock: systemClock, signal: new AbortController().signal }

  test('it is for one message at one point', async () => {
    const point = introductionPointName(rng.bytes(32))
    const { message } = client()
    const nonce = await findIntroductionWork(point, message, 9, waiting)
    const bits = introductionWork(point, message, nonce)
    assert.ok(bits >= 9 && bits <= WORK_BITS_MAX)
    assert.equal(introductionBinding(point, message).length, 64)
    let weaker = 0
    for (let other = 0; other < 8; other++) {
      const changed = message.slice()
      changed[other * 100]! ^= 1
      if (introductionWork(point, changed, nonce) < 9) weaker++
      if (introductionWork(rng.bytes(32), message, nonce) < 9) weaker++
    }
    assert.ok(weaker >= 15)
  })

  test('none is asked, none is given; malformed is none', async () => {
    const point = rng.bytes(32)
    const message = rng.bytes(96)
    assert.deepEqual(await findIntroductionWork(point, message, 0, waiting), new Uint8Array(0))
    for (const length of [0, 7, 9]) assert.equal(introductionWork(point, message, new Uint8Array(length)), 0)
  })
})

test('wiping a handshake ends it', () => {
  const asking = client()
  asking.wipe()
  asking.wipe()
  assert.equal(asking.onAnswer(new Uint8Array(97)), null)
  wipe(asking.message)
})
