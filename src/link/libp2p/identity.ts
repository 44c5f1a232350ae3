/**
 * The only place where node ids and libp2p's peer ids meet, and where multiaddrs are read. A node id is the raw Ed25519 public key in
 * hex; a peer id wraps the same key. Addresses with other components than those below are refused, so that no other transport, relay or
 * discovery scheme can be reached through a descriptor. Spec: SPEC.md §3.1.
 */
import { generateKeyPairFromSeed, publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey, PeerId } from '@libp2p/interface'
import { peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { type NodeId, nodeIdBytes, nodeIdOf } from '../../bytes/index.ts'

/** The key pair of a node, from its 32-byte seed (RFC 8032 private key). */
export function identityFromSeed(seed: Uint8Array): Promise<Ed25519PrivateKey> {
  return generateKeyPairFromSeed('Ed25519', seed)
}

/** The node id in a peer id, or `null` if its key is not Ed25519. */
export function nodeIdOfPeer(peer: PeerId): NodeId | null {
  if (peer.type !== 'Ed25519') return null
  return nodeIdOf(peer.publicKey.raw)
}

/** The peer id of a node. */
export function peerIdOfNode(id: NodeId): PeerId {
  return peerIdFromPublicKey(publicKeyFromRaw(nodeIdBytes(id)))
}

/** Where a multiaddr of ours leads. */
export interface Endpoint {
  readonly transport: 'tls' | 'ws'
  /** `dns`: a name, to be looked up. */
  readonly family: 'ip4' | 'ip6' | 'dns'
  readonly host: string
  readonly port: number
  /** From the /p2p part. `undefined`: there is none. */
  readonly peer: NodeId | undefined
}

/** Longest address text that is looked at. */
const ADDRESS_TEXT_MAX = 256

/** Reads `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT[/ws][/p2p/PEER]`; `null` for everything else. */
export function parseAddress(text: string): Endpoint | null {
  if (text.length > ADDRESS_TEXT_MAX) return null
  try {
    return endpointOf(multiaddr(text))
  } catch {
    // The parser throws for each malformed text: that is the verdict, not a fault.
    return null
  }
}

/** See `parseAddress`. */
export function endpointOf(address: Multiaddr): Endpoint | null {
  const [host, tcp, ...rest] = address.getComponents()
  if (host?.value === undefined || tcp?.name !== 'tcp' || tcp.value === undefined) return null
  const family = familyOf(host.name)
  if (family === null) return null
  const ws = rest[0]?.name === 'ws'
  if (ws) rest.shift()
  const last = rest.shift()
  if (rest.length > 0 || (last !== undefined && last.name !== 'p2p')) return null
  const peer = last?.value === undefined ? undefined : nodeIdOfPeer(peerIdFromString(last.value))
  if (peer === null) return null
  return { transport: ws ? 'ws' : 'tls', family, host: host.value, port: Number(tcp.value), peer }
}

function familyOf(name: string): Endpoint['family'] | null {
  switch (name) {
    case 'ip4':
    case 'ip6':
      return name
    case 'dns':
    case 'dns4':
    case 'dns6':
      return 'dns'
    default:
      return null
  }
}

/** `address` without its /p2p part, as descriptors carry it; `null` if it is not one of ours. */
export function withoutPeer(address: string): string | null {
  return parseAddress(address) === null ? null : address.replace(/\/p2p\/[^/]+$/, '')
}

/** `address` with the /p2p part of `id`. */
export function withPeer(address: string, id: NodeId): string {
  return `${address.replace(/\/p2p\/[^/]+$/, '')}/p2p/${peerIdOfNode(id).toString()}`
}
