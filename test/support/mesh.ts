/**
 * Nodes of the cell plane alone (switch, admission, apex, loop builder) on memory links, fully meshed, without directory or gossip: what
 * tests of circuits need and nothing else. Paths are given by the test.
 */

import { type DrawnPath, LoopBuilder } from '../../client/loops/builder.ts'
import { Admission, Apex, type ApexService, Switch } from '../../relay/index.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { type CellCipher, openCellCipher, sha256 } from '../../src/crypto/index.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import type { Link } from '../../src/link/index.ts'
import { memoryNetwork } from '../../src/link/memory.ts'
import type { Clock, Rng } from '../../src/runtime/index.ts'

export interface MeshNode {
  readonly id: NodeId
  readonly relay: Switch
  readonly onionKeys: OnionKeyRing
  readonly builder: LoopBuilder
  /** Links by peer. */
  readonly links: Map<NodeId, Link>
  /** The path that the next loops of this node take. */
  path: DrawnPath
}

export interface Mesh {
  readonly nodes: readonly MeshNode[]
  readonly network: Uint8Array
  readonly cipher: CellCipher
  close(): Promise<void>
}

export interface MeshOptions {
  readonly count: number
  readonly clock: Clock
  readonly rng: Rng
  readonly store?: ApexService
}

const echoStore: ApexService = async (request) => ({ status: 'ok', body: request })

/** Starts `count` nodes, each linked to each. By default a node's path is the next five, in order, with the third as apex. */
export async function startMesh({ count, clock, rng, store = echoStore }: MeshOptions): Promise<Mesh> {
  const cipher = await openCellCipher()
  const network = sha256(new Uint8Array([1]))
  const wires = memoryNetwork({ clock })
  const ids = Array.from({ length: count }, () => nodeIdOf(rng.bytes(32)))
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
    const onionKeys = new OnionKeyRing({ clock, rng })
    descriptors.set(id, {
      id,
      addresses: [],
      onion: onionKeys.published,
      capacityClass: 0,
      storeQuotaBytes: 0,
      publishedMs: clock.unixMs(),
      neighbours: [],
      family: [],
    })
    const links = new Map<NodeId, Link>()
    const control = {
      onControlCell: () => {},
      onLinkClosed: (link: Link) => {
        if (links.get(link.peer) === link) links.delete(link.peer)
      },
    }
    const relay = new Switch({
      cipher,
      clock,
      rng,
      apex: new Apex({ services: { store }, clock }),
      admission: new Admission({ network, self: id, onionKeys, clock }),
      control,
    })
    relay.start()
    const others = Array.from({ length: Math.min(5, count - 1) }, (_, at) => ids[(index + 1 + at) % count]!)
    const node: MeshNode = {
      id,
      relay,
      onionKeys,
      links,
      path: { hops: others, apexIndex: Math.floor(others.length / 2) },
      builder: new LoopBuilder({ network, self: id, onionKeys, view, draw: () => node.path, port: relay, cipher, clock, rng }),
    }
    return node
  })
  const join = (node: MeshNode, link: Link) => {
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
    async close() {
      for (const node of nodes) {
        node.relay.close()
        node.onionKeys.close()
      }
      for (const host of hosts) await host.close()
    },
  }
}
