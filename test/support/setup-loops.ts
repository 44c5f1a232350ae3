/**
 * Whole set-ups in one process: nodes with onion keys, a packet sent round them, and places to lay hands on it in between. For the tests
 * and the benchmark of `src/circuit/setup/`. Nodes here keep no replay cache unless asked, so that one packet can be tried many times.
 */
import type { NodeId, UnixMs } from '../../src/bytes/index.ts'
import { nodeIdOf } from '../../src/bytes/index.ts'
import {
  type HopSurroundings,
  type OnionKeyPair,
  openSetUp,
  PendingSetUp,
  type ReplayGuard,
  type SetUpBuild,
  type SetUpLayer,
  type SetUpMember,
  type SetUpPlan,
  type SetUpPrimitives,
  type SetUpVerdict,
  swiftPlan,
} from '../../src/circuit/setup/index.ts'
import { composeSetUp } from '../../src/circuit/setup/origin.ts'
import type { PendingState } from '../../src/circuit/setup/pending.ts'
import { mlkemFromSeed, mlkemGenerate, x25519FromSecret, x25519Generate } from '../../src/crypto/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { seededRng } from './seeded-rng.ts'

/** 2026-01-01 00:00:20 UTC. */
export const NOW = 1_767_225_620_000 as UnixMs
export const NETWORK = new Uint8Array(32).fill(0x6e)

/** Admits everything. */
export const NO_REPLAY_CACHE: ReplayGuard = { admit: () => 'fresh' }

/** One node: its identity and its onion keys. */
export interface TestNode extends SetUpMember {
  readonly pair: OnionKeyPair
}

/** A node with fresh keys, or with the keys of `seeds` (32 and 64 bytes). */
export function testNode(rng: Rng, seeds?: { readonly x25519: Uint8Array; readonly mlkem768: Uint8Array }): TestNode {
  const ecdh = seeds === undefined ? x25519Generate() : x25519FromSecret(seeds.x25519)
  const kem = seeds === undefined ? mlkemGenerate() : mlkemFromSeed(seeds.mlkem768)
  const onion = { kid: rng.below(256), x25519: ecdh.publicKey, mlkem768: kem.publicKey }
  const pair = { published: onion, x25519: ecdh.privateKey, mlkem768: kem.privateKey, replay: NO_REPLAY_CACHE }
  return { id: nodeIdOf(rng.bytes(32)), onion, pair }
}

export interface TestLoop {
  /** Hops 1…n. */
  readonly nodes: readonly TestNode[]
  readonly origin: TestNode
  readonly built: SetUpBuild
  /** What `built.pending` keeps: for checks that are to be repeated. */
  readonly state: PendingState
}

export interface TestLoopOptions {
  readonly hops: number
  readonly rng?: Rng
  readonly plan?: SetUpPlan
  readonly network?: Uint8Array
  readonly primitives?: SetUpPrimitives
  /** The nodes to use, hops first, the origin last. */
  readonly nodes?: readonly TestNode[]
}

/** A loop of `hops` other members, built and not yet sent. */
export function testLoop({ hops, rng = seededRng(hops), plan, network, primitives, nodes }: TestLoopOptions): TestLoop {
  const all = nodes ?? Array.from({ length: hops + 1 }, () => testNode(rng))
  const origin = all[hops]!
  const { packet, state } = composeSetUp({
    network: network ?? NETWORK,
    members: all.slice(0, hops),
    self: origin,
    claim: () => true,
    plan: plan ?? swiftPlan(NOW),
    rng,
    ...(primitives === undefined ? {} : { primitives }),
  })
  return { nodes: all.slice(0, hops), origin, built: { packet, pending: new PendingSetUp(state) }, state }
}

/** What hop `at` (from 0) sees; every other node is its neighbour unless `over` says otherwise. */
export function surroundings(loop: TestLoop, at: number, over: Partial<HopSurroundings> = {}): HopSurroundings {
  const node = loop.nodes[at]!
  return {
    network: NETWORK,
    self: node.id,
    onionKeys: { find: (kid) => (kid === node.onion.kid ? node.pair : null) },
    nowMs: NOW,
    previous: (loop.nodes[at - 1] ?? loop.origin).id,
    isNeighbour: () => true,
    ...over,
  }
}

/** Changes the packet on its way to member `at` (0…n; n is the origin). May change it in place. */
export type Meddling = (packet: Uint8Array, at: number) => Uint8Array

export interface RoundTrip {
  /** As received by members 0…n (n is the origin), as far as it came. */
  readonly received: readonly Uint8Array[]
  readonly verdicts: readonly SetUpVerdict[]
  /** What the hops hold. */
  readonly layers: readonly SetUpLayer[]
  /** What the origin came to, `null` if the packet did not come home or was wrong. */
  readonly completed: readonly SetUpLayer[] | null
}

/** Sends a built packet round. `check` decides at the origin: by default the pending set-up, which can do so once. */
export function sendRound(
  loop: TestLoop,
  meddle: Meddling = (packet) => packet,
  check: (packet: Uint8Array, previous: NodeId) => readonly SetUpLayer[] | null = (packet, previous) =>
    loop.built.pending.complete(packet, previous),
  over: Partial<HopSurroundings> = {},
): RoundTrip {
  const received: Uint8Array[] = []
  const verdicts: SetUpVerdict[] = []
  const layers: SetUpLayer[] = []
  let packet = meddle(loop.built.packet.slice(), 0)
  for (let at = 0; at < loop.nodes.length; at++) {
    received.push(packet)
    const verdict = openSetUp(packet, surroundings(loop, at, over))
    verdicts.push(verdict)
    if (!verdict.ok) return { received, verdicts, layers, completed: null }
    layers.push({ cellKey: verdict.cellKey, answerKey: verdict.answerKey })
    packet = meddle(verdict.packet.slice(), at + 1)
  }
  received.push(packet)
  return { received, verdicts, layers, completed: check(packet, loop.nodes.at(-1)!.id) }
}
