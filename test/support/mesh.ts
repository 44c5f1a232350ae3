/**
 * Nodes of the cell plane alone (switch, admission, apex, loop builder) on memory links, fully meshed, without directory or gossip: what
 * tests of circuits need and nothing else. Paths are given by the test.
 */

import { type DrawnPath, LoopBuilder } from '../../client/loops/builder.ts'
import { Admission, Apex, type ApexService, Switch } from '../../relay/index.ts'
import { Introductions } from '../../relay/introduction/index.ts'
import type { PacingOptions } from '../../relay/pacing.ts'
import { RENDEZVOUS_LIMITS, Rendezvous, type RendezvousLimits } from '../../relay/rendezvous/index.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { type CellCipher, openCellCipher, sha256 } from '../../src/crypto/index.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import type { Link } from '../../src/link/index.ts'
import { type MemoryNetwork, memoryNetwork, type WireShape } from '../../src/link/memory.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'

export interface MeshNode {
  readonly id: NodeId
  readonly relay: Switch
  readonly apex: Apex
  readonly rendezvous: Rendezvous
  readonly introductions: Introductions
  /** The keys of now: `restartKeys` replaces them. */
  readonly onionKeys: OnionKeyRing
  readonly builder: LoopBuilder
  /** Links by peer. */
  readonly links: Map<NodeId, Link>
  /** The path that the next loops of this node take. */
  path: DrawnPath
  /** New onion keys and an empty replay cache, as after a restart of the node; its links stay. */
  restartKeys(): void
}

export interface Mesh {
  readonly nodes: readonly MeshNode[]
  readonly network: Uint8Array
  readonly cipher: CellCipher
  /** For stalls and cut cables. */
  readonly wires: MemoryNetwork
  close(): Promise<void>
}

export interface MeshOptions {
  readonly count: number
  readonly clock: Clock
  readonly rng: Rng
  readonly store?: ApexService
  readonly rendezvous?: RendezvousLimits
  /** How links are paced. */
  readonly pacing?: PacingOptions
  /** Default: the switch's. */
  readonly circuitsPerLink?: number
  /** A node's own clock and randomness, where they are to differ from those of all. */
  readonly clockOf?: (index: number) => Clock
  readonly rngOf?: (index: number) => Rng
  /** Delay and rate of each direction of each link. */
  readonly shape?: (from: NodeId, to: NodeId) => WireShape
  /** Sees every write on every wire. */
  readonly onWrite?: (from: NodeId, to: NodeId, bytes: number) => void
  /** Tells the nodes' ids before any link is made. */
  readonly onIds?: (ids: readonly NodeId[]) => void
  /** Puts hands on a node's end of a link before the node sees it (`tap-link.ts`). `self` and `peer` are indexes. */
  readonly wrap?: (link: Link, self: number, peer: number) => Link
}

// A copy: the request is borrowed, and its memory is used again.
const echoStore: ApexService = async (request) => ({ status: 'ok', body: request.slice() })

/** Starts `count` nodes, each linked to each. By default a node's path is the next five, in order, with the third as apex. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const { count, store = echoStore, shape, onIds, wrap } = options
  const cipher = await openCellCipher()
  const network = sha256(new Uint8Array([1]))
  const wires = memoryNetwork({
    clock: options.clock,
    ...(shape === undefined ? {} : { shape }),
    ...(options.onWrite === undefined ? {} : { onWrite: options.onWrite }),
  })
  const ids = Array.from({ length: count }, () => nodeIdOf(options.rng.bytes(32)))
  onIds?.(ids)
  const descriptors = new Map<NodeId, Descriptor>()
  const view: DirectoryView = {
    size: count,
    version: 1,
    get: (id) => descriptors.get(id),
    all: () => [...descriptors.values()],
    linked: (id) => ids.filter((other) => other !== id),
  }
  const hosts = ids.map((id) => wires.host(id))
  const nodes = ids.map((id, index): MeshNode => {
    const clock = options.clockOf?.(index) ?? options.clock
    const rng = options.rngOf?.(index) ?? options.rng
    let ring = new OnionKeyRing({ clock, rng })
    const describe = () =>
      descriptors.set(id, {
        id,
        addresses: [],
        onion: ring.published,
        capacityClass: 0,
        storeQuotaBytes: 0,
        publishedMs: clock.unixMs(),
        neighbours: [],
        family: [],
      })
    describe()
    const onionKeys = {
      get published() {
        return ring.published
      },
      find: (kid: number) => ring.find(kid),
      claim: (kid: number, ephemeral: Uint8Array) => ring.claim(kid, ephemeral),
    }
    const links = new Map<NodeId, Link>()
    const control = {
      onControlCell: () => {},
      onLinkClosed: (link: Link) => {
        if (links.get(link.peer) === link) links.delete(link.peer)
      },
    }
    const introductions = new Introductions({ clock, rng })
    const memory = { hold: (bytes: number) => apex.hold(bytes), release: (bytes: number) => apex.release(bytes) }
    const rendezvous = new Rendezvous({ clock, memory, limits: options.rendezvous ?? RENDEZVOUS_LIMITS })
    const apex = new Apex({ services: { store, introduction: introductions.service }, rendezvous, clock })
    const relay = new Switch({
      cipher,
      clock,
      rng,
      apex,
      admission: new Admission({ network, self: id, onionKeys, clock }),
      control,
      ...(options.pacing === undefined ? {} : { pacing: options.pacing }),
      ...(options.circuitsPerLink === undefined ? {} : { circuitsPerLink: options.circuitsPerLink }),
    })
    relay.start()
    const others = Array.from({ length: Math.min(5, count - 1) }, (_, at) => ids[(index + 1 + at) % count]!)
    const node: MeshNode = {
      id,
      relay,
      apex,
      rendezvous,
      introductions,
      get onionKeys() {
        return ring
      },
      links,
      path: { hops: others, apexIndex: Math.floor(others.length / 2) },
      builder: new LoopBuilder({ network, self: id, onionKeys, view, draw: () => node.path, port: relay, cipher, clock, rng }),
      restartKeys() {
        ring.close()
        ring = new OnionKeyRing({ clock, rng })
        describe()
      },
    }
    return node
  })
  const indexOf = new Map(ids.map((id, index) => [id, index]))
  const join = (node: MeshNode, plain: Link) => {
    const link = wrap?.(plain, indexOf.get(node.id)!, indexOf.get(plain.peer)!) ?? plain
    link.start(node.relay.receiver)
    node.links.set(link.peer, link)
    node.relay.addNeighbour(link)
  }
  for (const [index, host] of hosts.entries()) host.onInbound = (link) => join(nodes[index]!, link)
  for (const host of hosts) await host.start()
  const never = new AbortController()
  for (const [index, host] of hosts.entries()) {
    for (let other = index + 1; other < count; other++) {
      join(nodes[index]!, await host.dial(ids[other]!, hosts[other]!.addresses, never))
    }
  }
  return {
    nodes,
    network,
    cipher,
    wires,
    async close() {
      for (const node of nodes) {
        node.relay.close()
        node.rendezvous.close()
        node.introductions.close()
        node.onionKeys.close()
      }
      for (const host of hosts) await host.close()
    },
  }
}
