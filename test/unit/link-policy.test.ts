/** Decisions of the link layer without a socket: who is let in, which of two links stays, which addresses are ours. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type MonotonicMs, nodeIdOf } from '../../src/bytes/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { ADMISSION_DEFAULTS, Admission, addressGroup, isLoopback, PENDING_GRACE_MS } from '../../src/link/admission.ts'
import { duel } from '../../src/link/duel.ts'
import { dialError } from '../../src/link/libp2p/dial-error.ts'
import { nodeIdOfPeer, parseAddress, peerIdOfNode, withoutPeer, withPeer } from '../../src/link/libp2p/identity.ts'
import { seededRng } from '../support/seeded-rng.ts'

/** Base58btc, the slow way. */
function base58(bytes: Uint8Array): string {
  const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
  let text = ''
  for (let left = BigInt(`0x${Buffer.from(bytes).toString('hex')}`); left > 0n; left /= 58n)
    text = alphabet[Number(left % 58n)] + text
  for (const byte of bytes) {
    if (byte !== 0) break
    text = `1${text}`
  }
  return text
}

const at = (ms: number) => ms as MonotonicMs
const none = () => {}

describe('admission', () => {
  const limits = { perAddressPerSec: 3, perAddressAtOnce: 4, unauthenticated: 5, total: 8, countLoopback: false }

  test('the rate and the number per address', () => {
    const admission = new Admission(limits)
    const three = [0, 1, 2].map((ms) => admission.enter('192.0.2.1', at(ms), none)!)
    assert.equal(admission.enter('192.0.2.1', at(3), none), null)
    assert.notEqual(admission.enter('192.0.2.2', at(3), none), null)
    const fourth = admission.enter('192.0.2.1', at(1_000), none)
    assert.notEqual(fourth, null)
    assert.equal(admission.enter('192.0.2.1', at(2_000), none), null, 'four are open')
    three[0]!.leave()
    three[0]!.leave()
    assert.notEqual(admission.enter('192.0.2.1', at(2_000), none), null)
    assert.equal(admission.enter('192.0.2.1', at(2_000), none), null)
  })

  test('the unauthenticated and all together', () => {
    const admission = new Admission(limits)
    const five = [0, 1, 2, 3, 4].map((host) => admission.enter(`198.51.100.${host}`, at(0), none)!)
    assert.equal(admission.enter('198.51.100.9', at(0), none), null)
    for (const ticket of five) {
      ticket.authenticate()
      ticket.authenticate()
    }
    assert.deepEqual([admission.total, admission.unauthenticated], [5, 0])
    for (const host of [5, 6, 7]) assert.notEqual(admission.enter(`198.51.100.${host}`, at(0), none), null)
    assert.equal(admission.enter('198.51.100.8', at(0), none), null)
    for (const ticket of five) ticket.leave()
    assert.deepEqual([admission.total, admission.unauthenticated], [3, 3])
  })

  test('who says nothing gives way to others after a second, the oldest first; who has authenticated never does', () => {
    const admission = new Admission(limits)
    const closed: number[] = []
    const enter = (host: number, ms: number) => admission.enter(`198.51.100.${host}`, at(ms), () => void closed.push(host))
    const tickets = [0, 1, 2, 3, 4].map((host) => enter(host, host)!)
    assert.equal(enter(5, PENDING_GRACE_MS - 1), null, 'a handshake may still be under way')
    tickets[0]!.authenticate()
    const fifth = enter(5, PENDING_GRACE_MS)
    assert.notEqual(fifth, null, 'a place was free')
    assert.deepEqual(closed, [])
    assert.notEqual(enter(6, PENDING_GRACE_MS + 1), null)
    assert.notEqual(enter(7, PENDING_GRACE_MS + 2), null)
    assert.deepEqual(closed, [1, 2])
    assert.deepEqual([admission.total, admission.unauthenticated], [6, 5])
    tickets[1]!.leave() // its socket closes later
    tickets[1]!.authenticate()
    assert.deepEqual([admission.total, admission.unauthenticated], [6, 5])
  })

  test('loopback is exempt from the limits per address only', () => {
    const admission = new Admission({ ...ADMISSION_DEFAULTS, unauthenticated: 100, total: 100 })
    for (let count = 0; count < 100; count++) assert.notEqual(admission.enter('127.0.0.1', at(0), none), null)
    assert.equal(admission.enter('::1', at(0), none), null)
  })

  test('remembering addresses does not grow without bound', () => {
    const admission = new Admission(limits)
    for (let host = 0; host < 20_000; host++) {
      admission.enter(`10.${host >> 16}.${(host >> 8) & 255}.${host & 255}`, at(0), none)?.leave()
    }
    // An address that floods is still refused after thousands of others have passed.
    const flood = Array.from({ length: 3 }, () => admission.enter('203.0.113.1', at(10), none))
    assert.ok(flood.every((ticket) => ticket !== null))
    assert.equal(admission.enter('203.0.113.1', at(11), none), null)
  })

  test('addresses of one /64 are one, and IPv4 in IPv6 is IPv4', () => {
    assert.equal(addressGroup('2001:db8:0:1::1'), addressGroup('2001:0db8:0000:0001:ffff:0:0:2'))
    assert.notEqual(addressGroup('2001:db8:0:1::1'), addressGroup('2001:db8:0:2::1'))
    assert.equal(addressGroup('::ffff:192.0.2.1'), '192.0.2.1')
    assert.equal(addressGroup('fe80::1%eth0'), addressGroup('fe80::2'))
    for (const local of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) assert.ok(isLoopback(local), local)
    for (const other of ['128.0.0.1', '::2', '12.7.0.1', '::ffff:10.127.0.1']) assert.ok(!isLoopback(other), other)
  })
})

describe('which of two links stays', () => {
  test('both sides decide for the same connection', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.boolean(), fc.boolean(), fc.nat(9_999), (lower, firstByMe, secondByMe, ageMs) => {
        const windowMs = 10_000
        const mine = duel({ lower, existing: { dialled: firstByMe, ageMs }, fresh: { dialled: secondByMe }, windowMs })
        const theirs = duel({
          lower: !lower,
          existing: { dialled: !firstByMe, ageMs },
          fresh: { dialled: !secondByMe },
          windowMs,
        })
        assert.equal(mine, theirs)
        // And, when each has dialled once, whichever came first here or there.
        if (firstByMe !== secondByMe) {
          const swapped = duel({ lower, existing: { dialled: secondByMe, ageMs }, fresh: { dialled: firstByMe }, windowMs })
          assert.notEqual(mine, swapped)
        }
      }),
      { seed: 1 },
    )
  })

  test('an old link gives way: its peer would not dial if it still had it', () => {
    const fresh = { dialled: false }
    assert.equal(duel({ lower: true, existing: { dialled: true, ageMs: 10_001 }, fresh, windowMs: 10_000 }), 'fresh')
    assert.equal(duel({ lower: true, existing: { dialled: true, ageMs: 9_999 }, fresh, windowMs: 10_000 }), 'existing')
  })
})

describe('identities and addresses', () => {
  const rng = seededRng(11)
  // RFC 8032 §7.1, test 1: a valid Ed25519 public key.
  const id = nodeIdOf(Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex'))

  test('a node id and its peer id are one key', () => {
    const peer = peerIdOfNode(id)
    assert.equal(nodeIdOfPeer(peer), id)
    // libp2p's peer-ids spec: identity multihash (00, length) of the protobuf (type 1, key), in base58btc.
    const multihash = Buffer.concat([Buffer.from('002408011220', 'hex'), Buffer.from(id, 'hex')])
    assert.equal(peer.toString(), base58(multihash))
    assert.equal(parseAddress(withPeer('/ip4/192.0.2.1/tcp/4001', id))?.peer, id)
  })

  test('what is an address of ours', () => {
    const tls = { transport: 'tls', family: 'ip4', host: '192.0.2.1', port: 4001, peer: undefined }
    assert.deepEqual(parseAddress('/ip4/192.0.2.1/tcp/4001'), tls)
    assert.deepEqual(parseAddress('/ip4/192.0.2.1/tcp/4001/ws'), { ...tls, transport: 'ws' })
    assert.deepEqual(parseAddress('/ip6/2001:db8::1/tcp/1'), { ...tls, family: 'ip6', host: '2001:db8::1', port: 1 })
    assert.deepEqual(parseAddress('/dns4/node.example/tcp/1'), { ...tls, family: 'dns', host: 'node.example', port: 1 })
    const whole = withPeer('/ip4/192.0.2.1/tcp/4001/ws', id)
    assert.equal(withoutPeer(whole), '/ip4/192.0.2.1/tcp/4001/ws')
    assert.equal(withPeer(whole, id), whole)
  })

  test('what is not', () => {
    const rsa = 'QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC'
    const others = [
      '',
      '/',
      'x',
      '/ip4/192.0.2.1',
      '/ip4/192.0.2.1/udp/1',
      '/ip4/192.0.2.1/udp/1/quic-v1',
      '/ip4/300.0.0.1/tcp/1',
    ]
    others.push('/ip4/192.0.2.1/tcp/70000', '/ip4/192.0.2.1/tcp/1/tls/ws', '/ip4/192.0.2.1/tcp/1/wss', '/unix/tmp/x')
    others.push(`/ip4/192.0.2.1/tcp/1/p2p/${rsa}`, '/ip4/192.0.2.1/tcp/1/p2p/nonsense', '/dnsaddr/example.org', `/p2p/${rsa}`)
    others.push(`/ip4/192.0.2.1/tcp/1/p2p/${peerIdOfNode(id)}/p2p-circuit`, `/ip4/192.0.2.1/tcp/1${'/ws'.repeat(100)}`)
    for (const text of others) assert.equal(parseAddress(text), null, text)
    for (const text of others) assert.equal(withoutPeer(text), null, text)
  })

  test('no text makes the parser throw', () => {
    const words = [
      '/ip4',
      '/ip6',
      '/tcp',
      '/ws',
      '/p2p',
      '/127.0.0.1',
      '/1',
      '/dns',
      '/',
      '::',
      '%',
      'x',
      '/http-path/%2',
      '\u0000',
    ]
    for (let run = 0; run < 3_000; run++) {
      const text = Array.from({ length: rng.below(8) }, () => words[rng.below(words.length)]!).join('')
      assert.doesNotThrow(() => parseAddress(text), text)
    }
  })

  test('a failed dial has one of three codes', () => {
    const named = (name: string, message = '') => Object.assign(new Error(message), { name })
    const noise = 'Payload identity key A does not match expected remote identity key B'
    for (const [error, code] of [
      [named('UnexpectedPeerError'), 'LINK_WRONG_PEER'],
      [named('EncryptionFailedError', noise), 'LINK_WRONG_PEER'],
      [named('EncryptionFailedError', 'something else'), 'LINK_UNREACHABLE'],
      [Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), 'LINK_UNREACHABLE'],
      ['no error at all', 'LINK_UNREACHABLE'],
    ] as const) {
      assert.ok(isOverlayError(dialError(error), code))
    }
  })
})
