/**
 * Writes `test/vectors/setup.json`: `node test/support/setup-vectors.ts > test/vectors/setup.json`. One loop of three others with every
 * secret and draw laid open. ML-KEM encapsulation takes no randomness from its caller, so what it gave is recorded; a new run gives other
 * vectors, which is a reason not to run it without a change of format.
 */
import { fromHex, type NodeId, toHex, type UnixMs } from '../../src/bytes/index.ts'
import { openSetUp, PRIMITIVES, type SetUpDrop, type SetUpMember, type SetUpPlan } from '../../src/circuit/setup/index.ts'
import { composeSetUp } from '../../src/circuit/setup/origin.ts'
import { mlkemFromSeed, type X25519KeyPair, x25519FromSecret } from '../../src/crypto/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { seededRng } from './seeded-rng.ts'
import { NO_REPLAY_CACHE } from './setup-loops.ts'

/** All bytes in hex. */
export interface SetUpVectors {
  readonly provenance: string
  readonly network: string
  readonly nowMs: number
  readonly plan: SetUpPlan
  /** Hops 1…n, then the origin. */
  readonly members: readonly {
    readonly id: string
    readonly kid: number
    readonly x25519Secret: string
    readonly mlkem768Seed: string
  }[]
  readonly origin: {
    /** What `Rng.below` and `Rng.bytes` gave, in the order asked. */
    readonly below: readonly number[]
    readonly bytes: readonly string[]
    /** One for each member: the ephemeral key's secret, and what encapsulation gave. */
    readonly ephemeralSecrets: readonly string[]
    readonly encapsulations: readonly { readonly secret: string; readonly ciphertext: string }[]
  }
  /** What comes of it at each hop, given the secret of its fresh key. */
  readonly hops: readonly {
    readonly freshSecret: string
    readonly slot: number
    readonly ctx: string
    readonly cellKey: string
    readonly answerKey: string
  }[]
  /** As received by hops 1…n and the origin. */
  readonly packets: readonly string[]
  /** Changes of one byte of the packet as received by a hop, and why the hop drops it. */
  readonly mustFail: readonly { readonly hop: number; readonly at: number; readonly xor: number; readonly reason: SetUpDrop }[]
  /** Changes of one byte of the packet as received by the origin: no loop. */
  readonly mustFailAtOrigin: readonly { readonly at: number; readonly xor: number }[]
}

/** The onion keys and the ring's answer for a member of the vectors. */
export function vectorMember({ id, kid, x25519Secret, mlkem768Seed }: SetUpVectors['members'][number]) {
  const ecdh = x25519FromSecret(fromHex(x25519Secret)!)
  const kem = mlkemFromSeed(fromHex(mlkem768Seed)!)
  const onion = { kid, x25519: ecdh.publicKey, mlkem768: kem.publicKey }
  const pair = { published: onion, x25519: ecdh.privateKey, mlkem768: kem.privateKey, replay: NO_REPLAY_CACHE }
  const member: SetUpMember = { id: id as NodeId, onion }
  return { ...member, pair, onionKeys: { find: (asked: number) => (asked === kid ? pair : null) } }
}

/** Generates, in turn, the X25519 pairs of these secrets. */
export function inTurn(secrets: readonly string[]): () => X25519KeyPair {
  let at = 0
  return () => x25519FromSecret(fromHex(secrets[at++]!)!)
}

function make(): SetUpVectors {
  const rng = seededRng('gyre set-up vectors')
  const hex = (length: number) => toHex(rng.bytes(length))
  const hops = 3
  const members = Array.from({ length: hops + 1 }, () => {
    return { id: hex(32), kid: rng.below(256), x25519Secret: hex(32), mlkem768Seed: hex(64) }
  })
  const known = members.map(vectorMember)
  const ephemeralSecrets = members.map(() => hex(32))
  const freshSecrets = Array.from({ length: hops }, () => hex(32))
  const network = hex(32)
  const nowMs = 1_767_225_620_000 as UnixMs
  const plan: SetUpPlan = {
    clock: 'swift',
    rate: 0,
    issuedMinutes: 29_453_760,
    openEpoch: 0,
    liveEpoch: 0,
    closeEpoch: 0,
    holdMs: 0,
  }

  const below: number[] = []
  const bytes: string[] = []
  const encapsulations: { secret: string; ciphertext: string }[] = []
  const recording: Rng = {
    below: (bound) => below[below.push(rng.below(bound)) - 1]!,
    bytes: (length) => fromHex(bytes[bytes.push(hex(length)) - 1]!)!,
    scratch: (length) => rng.scratch(length),
    unit: () => rng.unit(),
  }
  const { packet, state } = composeSetUp({
    network: fromHex(network)!,
    members: known.slice(0, hops),
    self: known[hops]!,
    claim: () => true,
    plan,
    rng: recording,
    primitives: {
      ...PRIMITIVES,
      x25519Generate: inTurn(ephemeralSecrets),
      mlkemEncapsulate: (key) => {
        const { secret, ciphertext } = PRIMITIVES.mlkemEncapsulate(key)
        encapsulations.push({ secret: toHex(secret), ciphertext: toHex(ciphertext) })
        return { secret, ciphertext }
      },
    },
  })

  const packets = [packet]
  const made = freshSecrets.map((freshSecret, at) => {
    const { id, onionKeys } = known[at]!
    const primitives = { ...PRIMITIVES, x25519Generate: inTurn([freshSecret]) }
    const previous = known[at === 0 ? hops : at - 1]!.id
    const around = { network: fromHex(network)!, self: id, onionKeys, nowMs, previous, isNeighbour: () => true, primitives }
    const verdict = openSetUp(packets[at]!, around)
    if (!verdict.ok) throw new Error(`hop ${at} dropped the packet: ${verdict.reason}`)
    packets.push(verdict.packet)
    const { slot, ctx } = state.hops[at]!
    return { freshSecret, slot, ctx: toHex(ctx), cellKey: toHex(verdict.cellKey), answerKey: toHex(verdict.answerKey) }
  })
  const changes: readonly (readonly [number, number, SetUpDrop])[] = [
    [0, 3, 'malformed'],
    [1, 1, 'unknown-key'],
    [2, 1, 'unopened'],
    [33, 128, 'unopened'],
    [34, 1, 'unopened'],
    [1121, 128, 'unopened'],
    [1122, 1, 'unopened'],
    [1225, 128, 'unopened'],
    [1226, 1, 'unopened'],
    [14711, 128, 'unopened'],
  ]
  return {
    provenance:
      'Own vectors, written by test/support/setup-vectors.ts. No other implementation exists; test/support/naive-setup.ts is a plain twin.',
    network,
    nowMs,
    plan,
    members,
    origin: { below, bytes, ephemeralSecrets, encapsulations },
    hops: made,
    packets: packets.map(toHex),
    mustFail: changes.flatMap(([at, xor, reason]) => [0, 1, 2].map((hop) => ({ hop, at, xor, reason }))),
    mustFailAtOrigin: [0, 1, 2, 33, 1122, 1226, 14711, 14712, 14759, 14760, 15287].map((at) => ({ at, xor: 128 })),
  }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(make(), null, 1)}\n`)
